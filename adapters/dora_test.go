package adapters

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
)

func randomMatrix(rng *rand.Rand, rows, cols int, scale float64) kernels.Matrix {
	m := kernels.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64() * scale)
	}
	return m
}

func paramOf(m kernels.Matrix) *Param {
	return &Param{Shape: []int{m.Rows, m.Cols}, Weight: kernels.WeightOf(m)}
}

// encoded stores m in a format.
func encoded(t *testing.T, m kernels.Matrix, f kernels.Format) kernels.Weight {
	t.Helper()
	data := make([]byte, m.Rows*f.RowBytes(m.Cols))
	if err := kernels.Encode(data, f, m.Data); err != nil {
		t.Fatal(err)
	}
	return kernels.NewWeight(f, m.Rows, m.Cols, data)
}

// TestGains holds the norms without a dense temporary against the dense ones
// in float64, on bases in every form that Encode writes.
func TestGains(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const out, in, r, s = 150, 96, 8, 1.5 // more than two bands of rows
	for _, f := range []kernels.Format{kernels.F32, kernels.F16, kernels.BF16, kernels.Q8_0, kernels.Q4_0, kernels.Q4_1, kernels.Q5_0, kernels.Q5_1} {
		w := encoded(t, randomMatrix(rng, out, in, 0.1), f)
		a, b, m := randomMatrix(rng, r, in, 0.2), randomMatrix(rng, r, out, 0.2), randomMatrix(rng, 1, out, 1)
		g := &gains{
			low: &lowRank{a: paramOf(a), b: paramOf(b), scale: s}, magnitude: paramOf(m),
			weight: func() kernels.Weight { return w }, gain: make([]float32, out),
		}
		g.refresh()
		dense := w.Matrix()
		for j := range out {
			square := 0.0
			for i := range in {
				v := float64(dense.Row(j)[i])
				for k := range r {
					v += s * float64(b.Row(k)[j]) * float64(a.Row(k)[i])
				}
				square += v * v
			}
			want := float64(m.Data[j]) / math.Sqrt(square)
			if d := math.Abs(float64(g.gain[j])-want) / math.Abs(want); !(d < 2e-6) {
				t.Errorf("%v: gain %d is %v, want %v", f, j, g.gain[j], want)
			}
		}
	}
}

// TestGainsFollow demands that Refresh sees what a trainer has changed.
func TestGainsFollow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := randomMatrix(rng, 4, 8, 1)
	g := &gains{
		low:       &lowRank{a: paramOf(randomMatrix(rng, 2, 8, 1)), b: paramOf(kernels.NewMatrix(2, 4)), scale: 1},
		magnitude: paramOf(kernels.NewMatrix(1, 4)), weight: func() kernels.Weight { return kernels.WeightOf(w) },
		gain: make([]float32, 4),
	}
	for j := range 4 { // PEFT's start: m = ‖W‖, B = 0
		g.magnitude.Values().Data[j] = float32(math.Sqrt(square(w.Row(j))))
	}
	g.refresh()
	for j, v := range g.gain {
		if math.Abs(float64(v)-1) > 1e-6 {
			t.Errorf("at the start gain %d is %v", j, v)
		}
	}
	g.low.b.Values().Row(1)[2] = 5
	g.refresh()
	if g.gain[1] != 1 && math.Abs(float64(g.gain[1])-1) > 1e-6 || g.gain[2] > 0.9 {
		t.Errorf("after a change of B the gains are %v", g.gain)
	}
}
