package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// against runs f with the portable implementation and then with each other
// one, and compares what it leaves in the matrix it returns: within relative,
// or absolute where the result comes close to 0.
func against(t *testing.T, relative, absolute float64, f func() Matrix) {
	t.Helper()
	was := active
	defer func() { active = was }()
	active = &portable
	want := f()
	for _, i := range implementations()[1:] {
		active = i
		got := f()
		for r := range want.Rows {
			for c, v := range want.Row(r) {
				g := got.Row(r)[c]
				if g == v || v != v && g != g {
					continue
				}
				if d := math.Abs(float64(g) - float64(v)); !(d <= max(relative*math.Abs(float64(v)), absolute)) {
					t.Fatalf("%s: [%d][%d] = %v, portable %v", i.name, r, c, g, v)
				}
			}
		}
	}
}

// special are values where activations bend.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1e-30, -1e-30, 1e-42, 10, -10, 50, -50, 88.5, -88.5, 100, -100, 1e30, -1e30, float32(math.NaN())}

func TestActivations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for a := range activations {
		act := Activation(a)
		for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 33, 100, 1000} {
			x := make([]float32, n)
			up := make([]float32, n)
			for i := range x {
				x[i], up[i] = float32(rng.NormFloat64()*4), float32(rng.NormFloat64())
				if n == 100 && i < len(special) {
					x[i] = special[i]
				}
			}
			for k, f := range []func(dst []float32){
				func(dst []float32) { act.Apply(dst, x) },
				func(dst []float32) { act.Gate(dst, x, up) },
				func(dst []float32) { act.Derivative(dst, x) },
			} {
				t.Run(fmt.Sprintf("%s/%d/%d", act, n, k), func(t *testing.T) {
					f1 := func() Matrix {
						m, ok := guarded(rng, 1, n, 0)
						f(m.Data)
						if !ok() {
							t.Fatal("wrote outside dst")
						}
						return m
					}
					// Derivatives cross 0, and the portable gelus lose their tails in float64.
					against(t, 4e-6, []float64{1e-14, 1e-14, 4e-7}[k], f1)
				})
			}
		}
	}
}

func TestRows(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	rng := rand.New(rand.NewPCG(2, 2))
	for _, cols := range []int{1, 7, 16, 33, 64, 576, 1000} {
		x, _ := guarded(rng, 13, cols, 3)
		y, _ := guarded(rng, 13, cols, 1)
		weight, _ := guarded(rng, 1, cols, 0)
		bias, _ := guarded(rng, 1, cols, 0)
		into := func(f func(dst Matrix)) func() Matrix {
			return func() Matrix {
				dst, ok := guarded(rand.New(rand.NewPCG(1, 1)), 13, cols, 2)
				f(dst)
				if !ok() {
					t.Fatal("wrote outside dst")
				}
				return dst
			}
		}
		against(t, 1e-6, 0, into(func(dst Matrix) { p.RMSNorm(dst, x, weight.Data, 0, 1e-6) }))
		against(t, 1e-6, 1e-6, into(func(dst Matrix) { p.LayerNorm(dst, x, weight.Data, nil, 1e-6) }))
		against(t, 0, 0, into(func(dst Matrix) { p.Add(dst, y) }))
		against(t, 0, 0, into(func(dst Matrix) { p.AddBias(dst, bias.Data) }))
		against(t, 0, 0, into(func(dst Matrix) { Mul(dst.Row(2), y.Row(3)) }))
		against(t, 1e-6, 1e-6, into(func(dst Matrix) { AddScaled(dst.Row(2), 0.3, y.Row(3)) }))
		against(t, 1e-6, 0, into(func(dst Matrix) { Softmax(dst.Row(1), dst.Row(1)) }))
		against(t, 1e-6, 0, into(func(dst Matrix) {
			dst.Row(0)[0] = LogSumExp(dst.Row(1))
			dst.Row(1)[0] = float32(ArgMax(dst.Row(2)))
		}))
	}
	for _, d := range []int{8, 32, 64, 80} {
		inverse := make([]float64, d/2)
		for i := range inverse {
			inverse[i] = math.Pow(10000, -float64(2*i)/float64(d))
		}
		r := NewRope(d, 100, inverse, 1)
		against(t, 1e-6, 1e-6, func() Matrix {
			m, _ := guarded(rand.New(rand.NewPCG(1, 1)), 3, 5*d, 1)
			r.Apply(m.Row(0), 77)
			r.Undo(m.Row(1), 42)
			return m
		})
	}
}

// A row whose squares overflow is not made one of zeros.
func TestNormOverflow(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, n := range []int{3, 8, 100} {
			x, weight, dst := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range weight {
				weight[i] = 1
			}
			x[n/2] = 1e20
			RMSNorm(dst, x, weight, 1e-6)
			if Finite(dst) {
				t.Errorf("RMSNorm of %d values: %v", n, dst)
			}
			LayerNorm(dst, x, weight, nil, 1e-6)
			if Finite(dst) {
				t.Errorf("LayerNorm of %d values: %v", n, dst)
			}
			x[n/2] = 1e18
			RMSNorm(dst, x, weight, 1e-6)
			if got := float64(dst[n/2]); math.Abs(got-math.Sqrt(float64(n))) > 1e-4 {
				t.Errorf("RMSNorm of %d values below overflow: %v", n, got)
			}
		}
	})
}

func TestSampling(t *testing.T) {
	each(t, func(t *testing.T) {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, c := range []struct {
			x    []float32
			want int
		}{{nil, 0}, {[]float32{nan}, 0}, {[]float32{1, 3, 3, 2}, 1}, {[]float32{nan, -5, nan, -2}, 3}, {[]float32{0, -inf, inf, 4}, 2}} {
			if got := ArgMax(c.x); got != c.want {
				t.Errorf("ArgMax(%v) = %d, want %d", c.x, got, c.want)
			}
		}
		if got := LogSumExp([]float32{1000, 1000}); math.Abs(float64(got)-1000.6931) > 1e-3 {
			t.Errorf("LogSumExp = %v", got)
		}
		if got := LogSumExp([]float32{-inf, -inf}); !math.IsInf(float64(got), -1) {
			t.Errorf("LogSumExp of nothing = %v", got)
		}
	})
}
