package adapters

import (
	"math"
	goruntime "runtime"
	"sync"

	"github.com/peft-serve/peft-serve/kernels"
)

// gains is DoRA's factor on each output, g = m/‖W+sBA‖ (Liu et al., 2024),
// where the norm is over each row of W, [out, in]: derived state, computed
// without a dense temporary from
//
//	‖W_j + s·B_j·A‖² = ‖W_j‖² + 2s·B_j·(A·W_jᵀ) + s²·B_j·(A·Aᵀ)·B_jᵀ.
//
// Served, DoRA costs a LoRA and one multiply an output.
type gains struct {
	low       *lowRank
	magnitude *Param                     // m, [out]
	outs      int                        // rows of W
	row       func(dst []float32, j int) // sets dst to W_j
	squares   []float64                  // ‖W_j‖², computed once
	gain      []float32
}

func (g *gains) apply(w *kernels.Worker, x, y kernels.Matrix) {
	g.low.apply(w, x, y)
	for r := range y.Rows {
		kernels.Mul(y.Row(r), g.gain)
	}
}

// gainRows is the number of rows of W that refresh widens at a time.
const gainRows = 64

// refresh computes the gains, in parallel over the rows of W.
func (g *gains) refresh() {
	a, b := g.low.a.Values(), g.low.b.Values() // [r, in], [r, out]
	gram := gramian(a)
	m := g.magnitude.vector()
	first := g.squares == nil
	if first {
		g.squares = make([]float64, g.outs)
	}
	var wait sync.WaitGroup
	bands := make(chan int)
	for range min(goruntime.GOMAXPROCS(0), (g.outs+gainRows-1)/gainRows) {
		wait.Go(func() {
			w := new(kernels.Worker)
			rows, projected := kernels.NewMatrix(gainRows, a.Cols), kernels.NewMatrix(a.Rows, gainRows)
			for from := range bands {
				n := min(gainRows, g.outs-from)
				for i := range n {
					g.row(rows.Row(i), from+i)
					if first {
						g.squares[from+i] = square(rows.Row(i))
					}
				}
				p := projected.Columns(0, n)
				w.MatMul(p, a, kernels.WeightOf(rows.Span(0, n))) // A·W_jᵀ
				into := gainBand{g.gain[from:][:n], m[from:], g.squares[from:], b.Columns(from, from+n), p}
				into.fill(gram, float64(g.low.scale))
			}
		})
	}
	for from := 0; from < g.outs; from += gainRows {
		bands <- from
	}
	close(bands)
	wait.Wait()
}

// gainBand is a run of n outputs: their gains to fill, m, ‖W_j‖², Bᵀ, [r, n],
// and A·W_jᵀ, [r, n].
type gainBand struct {
	gain, m      []float32
	squares      []float64
	b, projected kernels.Matrix
}

func (g gainBand) fill(gram []float64, s float64) {
	r := g.b.Rows
	for j := range g.gain {
		cross, quadratic := 0.0, 0.0
		for k := range r {
			bk := float64(g.b.Row(k)[j])
			cross += bk * float64(g.projected.Row(k)[j])
			for l := range r {
				quadratic += bk * gram[k*r+l] * float64(g.b.Row(l)[j])
			}
		}
		norm := math.Sqrt(max(g.squares[j]+2*s*cross+s*s*quadratic, 0))
		g.gain[j] = float32(float64(g.m[j]) / norm)
	}
}

// gramian returns A·Aᵀ, [r, r], in float64.
func gramian(a kernels.Matrix) []float64 {
	g := make([]float64, a.Rows*a.Rows)
	for i := range a.Rows {
		for j := range i + 1 {
			sum := 0.0
			u, v := a.Row(i), a.Row(j)
			for k, x := range u {
				sum += float64(x) * float64(v[k])
			}
			g[i*a.Rows+j], g[j*a.Rows+i] = sum, sum
		}
	}
	return g
}

func square(v []float32) float64 {
	var s [4]float64
	n := len(v) &^ 3
	for i := 0; i < n; i += 4 {
		for k := range 4 {
			x := float64(v[i+k])
			s[k] += x * x
		}
	}
	for _, x := range v[n:] {
		s[0] += float64(x) * float64(x)
	}
	return s[0] + s[1] + s[2] + s[3]
}
