package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestRowGradients compares the backward rows with the portable ones; those
// are held against PyTorch by the models' golden gradients.
func TestRowGradients(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	rng := rand.New(rand.NewPCG(3, 3))
	for _, cols := range []int{1, 7, 16, 33, 64, 576, 1000} {
		x, _ := guarded(rng, 13, cols, 3)
		y, _ := guarded(rng, 13, cols, 1)
		dy, _ := guarded(rng, 13, cols, 2)
		weight, _ := guarded(rng, 1, cols, 0)
		into := func(f func(a, b Matrix)) func() Matrix {
			return func() Matrix {
				rng := rand.New(rand.NewPCG(1, 1))
				a, aOK := guarded(rng, 13, cols, 2)
				b, bOK := guarded(rng, 13, cols, 2)
				f(a, b)
				if !aOK() || !bOK() {
					t.Fatal("wrote outside dst")
				}
				both := NewMatrix(26, cols)
				both.Span(0, 13).Copy(a)
				both.Span(13, 26).Copy(b)
				return both
			}
		}
		for _, rms := range []bool{true, false} {
			against(t, 4e-6, 4e-6, into(func(dx, dw Matrix) {
				p.NormGrad(dx, dy, x, weight.Data, 0, 1e-3, rms, dw.Row(0), dw.Row(1), make([]float32, 26))
				p.NormGrad(Matrix{}, dy, x, weight.Data, 0, 1e-3, rms, dw.Row(2), nil, make([]float32, 26))
			}))
		}
		for a := range activations {
			against(t, 4e-6, 2e-6, into(func(dgate, dup Matrix) { p.GateGrad(dgate, dup, dy, x, y, Activation(a)) }))
			against(t, 4e-6, 2e-6, into(func(dx, scratch Matrix) {
				p.ActivateGrad(dx, dy, x, scratch, Activation(a))
				scratch.Zero()
			}))
		}
		against(t, 0, 0, into(func(db, _ Matrix) { p.ColumnSums(db.Row(3), dy) }))
	}
}

// TestNormOffset: an offset gives the bits of weights that have it.
func TestNormOffset(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		dy, _ := guarded(rng, 13, 70, 0)
		x, _ := guarded(rng, 13, 70, 0)
		weight, _ := guarded(rng, 1, 70, 0)
		whole := NewMatrix(1, 70)
		for i, v := range weight.Data {
			whole.Data[i] = 1 + v
		}
		want, got := NewMatrix(27, 70), NewMatrix(27, 70)
		for _, c := range []struct {
			to, weight Matrix
			offset     float32
		}{{want, whole, 0}, {got, weight, 1}} {
			p.RMSNorm(c.to.Span(0, 13), x, c.weight.Data, c.offset, 1e-6)
			p.NormGrad(c.to.Span(13, 26), dy, x, c.weight.Data, c.offset, 1e-6, true, c.to.Row(26), nil, make([]float32, 26))
		}
		sameBits(t, "the norm and its gradient", got, want)
	})
}

// TestNormBiasAlone demands that a bias gets its gradient where the weight is
// frozen.
func TestNormBiasAlone(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 3))
		dy, _ := guarded(rng, 13, 70, 0)
		x, _ := guarded(rng, 13, 70, 0)
		weight := NewMatrix(1, 70)
		want, got := NewMatrix(1, 70), NewMatrix(1, 70)
		p.ColumnSums(want.Data, dy)
		p.NormGrad(Matrix{}, dy, x, weight.Data, 0, 1e-5, false, nil, got.Data, make([]float32, 26))
		sameBits(t, "the bias alone", got, want)
	})
}

func TestFinite(t *testing.T) {
	each(t, func(t *testing.T) {
		for n := range 70 {
			x, _ := guarded(rand.New(rand.NewPCG(1, 1)), 1, n, 0)
			if !Finite(x.Row(0)) {
				t.Fatalf("%d finite values are not", n)
			}
			for i := range n {
				for _, bad := range append([]float32{float32(math.Inf(1)), float32(math.Inf(-1))}, special...) {
					was := x.Data[i]
					x.Data[i] = bad
					if got, want := Finite(x.Row(0)), bad-bad == 0; got != want {
						t.Fatalf("%v at %d of %d: finite is %v", bad, i, n, got)
					}
					x.Data[i] = was
				}
			}
		}
	})
}

// TestLogits holds the primitives over a vocabulary against float64.
func TestLogits(t *testing.T) {
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		for _, n := range []int{1, 5, 16, 100, 4096, 4097, 49152, 151936} {
			m, ok := guarded(rng, 1, n, 0)
			x := m.Row(0)
			best, sum := 0, 0.0
			for i := range x {
				x[i] *= 4
				if x[i] > x[best] {
					best = i
				}
				sum += math.Exp(float64(x[i]))
			}
			if got := ArgMax(x); got != best {
				t.Fatalf("%d: ArgMax is %d, want %d", n, got, best)
			}
			lse := math.Log(sum)
			if got := LogSumExp(x); math.Abs(float64(got)-lse) > 3e-7*max(1, math.Abs(lse)) {
				t.Errorf("%d: LogSumExp is %v, want %v", n, got, lse)
			}
			dst := make([]float32, n)
			Softmax(dst, x)
			label, scale, loss := n/3, float32(0.7), lse-float64(x[n/3])
			want := make([]float64, n)
			for i, v := range x {
				want[i] = math.Exp(float64(v) - lse) // v - top alone rounds by 2⁻¹⁹
				if got := float64(dst[i]); math.Abs(got-want[i]) > 5e-6*want[i] {
					t.Fatalf("%d: softmax[%d] = %v, want %v", n, i, got, want[i])
				}
			}
			want[label]--
			if got := CrossEntropyGrad(x, label, scale); math.Abs(got-loss) > 1e-6*max(1, loss) {
				t.Errorf("%d: the loss is %v, want %v", n, got, loss)
			}
			for i, w := range want {
				if got := float64(x[i]) / float64(scale); math.Abs(got-w) > 5e-6*math.Abs(w)+1e-7 {
					t.Fatalf("%d: gradient[%d] = %v, want %v", n, i, got, w)
				}
			}
			if !ok() {
				t.Fatal("wrote outside the row")
			}
		}
	})
}

// TestAllocations demands none of what a decoding step runs.
func TestAllocations(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(5, 5))
	var attendeds []attended
	for _, f := range KVFormats() {
		attendeds = append(attendeds, newAttendedIn(f, rng, Attention{Heads: 9, Scale: 0.125, Causal: true}, 3, 64, [][2]int{{40, 1}, {70, 2}}))
	}
	dst := NewMatrix(attendeds[0].q.Rows, attendeds[0].q.Cols)
	x, _ := guarded(rng, 3, 576, 0)
	y, _ := guarded(rng, 3, 576, 0)
	rope := NewRope(64, 100, make([]float64, 32), 1)
	positions := []int32{1, 2, 3}
	each(t, func(t *testing.T) {
		n := testing.AllocsPerRun(10, func() {
			for _, c := range attendeds {
				p.Attend(dst, c.q, c.kv, c.spans, c.a, Matrix{})
			}
			p.RMSNorm(y, x, x.Row(0), 0, 1e-6)
			p.LayerNorm(y, x, x.Row(0), x.Row(1), 1e-6)
			p.Rope(y, rope, positions)
			p.Gate(y, x, y, SiLU)
			p.Activate(y, x, GELU)
			p.Add(y, x)
			p.AddBias(y, x.Row(0))
			Softmax(y.Row(0), x.Row(0))
			if ArgMax(x.Row(0)) < 0 || LogSumExp(x.Row(0)) < 0 || !Finite(x.Row(0)) {
				t.Fatal("nonsense")
			}
		})
		if n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkRows(b *testing.B) {
	was := active
	defer func() { active = was }()
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	matrix := func(rows, cols int) Matrix {
		m, _ := guarded(rng, rows, cols, 0)
		return m
	}
	gate, up, dy, y, z := matrix(512, 1536), matrix(512, 1536), matrix(512, 1536), matrix(512, 1536), matrix(512, 1536)
	x, h, dh, dx := matrix(512, 576), matrix(512, 576), matrix(512, 576), matrix(512, 576)
	weight, bias, k := matrix(1, 576).Data, matrix(1, 576).Data, matrix(512, 192)
	logits, out := matrix(1, 49152).Data, make([]float32, 49152)
	rope, positions := NewRope(64, 512, make([]float64, 32), 1), make([]int32, 512)
	kv := KV{Heads: 3, HeadDim: 64, K: make([]float32, 16*3*64*BlockLen), V: make([]float32, 16*3*64*BlockLen)}
	for _, f := range []struct {
		name string
		run  func()
	}{
		{"SiLUGate512x1536", func() { p.Gate(y, gate, up, SiLU) }},
		{"GELU512x1536", func() { p.Activate(y, gate, GELU) }},
		{"GELUTanh512x1536", func() { p.Activate(y, gate, GELUTanh) }},
		{"Tanh512x1536", func() { p.Activate(y, gate, Tanh) }},
		{"GateGrad512x1536", func() { p.GateGrad(y, z, dy, gate, up, SiLU) }},
		{"RMSNorm512x576", func() { p.RMSNorm(h, x, weight, 0, 1e-6) }},
		{"LayerNorm512x576", func() { p.LayerNorm(h, x, weight, bias, 1e-6) }},
		{"NormGrad512x576", func() { p.NormGrad(dx, dh, x, weight, 0, 1e-6, true, out[:576], nil, out[576:1600]) }},
		{"Rope512x576", func() { p.Rope(h, rope, positions) }},
		{"Add512x576", func() { p.Add(h, x) }},
		{"ColumnSums512x576", func() { p.ColumnSums(out[:576], x) }},
		{"Store512x192", func() {
			for r := range 512 {
				kv.Store(int32(r/BlockLen), r, k.Row(r), k.Row(r))
			}
		}},
		{"ArgMax49152", func() { ArgMax(logits) }},
		{"LogSumExp49152", func() { LogSumExp(logits) }},
		{"Softmax49152", func() { Softmax(out, logits) }},
		{"CrossEntropyGrad49152", func() { copy(out, logits); CrossEntropyGrad(out, 7, 1) }},
	} {
		for _, i := range implementations() {
			if i.name == "amx" {
				continue // its rows are those of avx512
			}
			b.Run(fmt.Sprintf("%s/%s", f.name, i.name), func(b *testing.B) {
				active = i
				b.ReportAllocs()
				for b.Loop() {
					f.run()
				}
			})
		}
	}
}
