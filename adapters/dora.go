package adapters

import (
	"math"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"

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
	magnitude *Param                // m, [out]
	weight    func() kernels.Weight // W, in its stored form
	squares   []float64             // ‖W_j‖², computed once
	gain      []float32             // g, [out]
}

func (g *gains) apply(w *kernels.Worker, x, y kernels.Matrix) {
	g.low.apply(w, x, y)
	for r := range y.Rows {
		kernels.Mul(y.Row(r), g.gain)
	}
}

// gainRows is the number of outputs that refresh takes at a time.
const gainRows = 64

// gainMemory is what one goroutine of refresh works in.
type gainMemory struct {
	worker    kernels.Worker
	row       []float32
	projected []float32
}

var gainMemories = sync.Pool{New: func() any { return new(gainMemory) }}

// refresh computes the gains, in parallel over bands of outputs.
func (g *gains) refresh() {
	w := g.weight()
	a, b := g.low.a.Values(), g.low.b.Values() // [r, in], [r, out]
	gram, m, s := gramian(a), g.magnitude.vector(), float64(g.low.scale)
	first := g.squares == nil
	if first {
		g.squares = make([]float64, w.Rows)
	}
	bands := (w.Rows + gainRows - 1) / gainRows
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(goruntime.GOMAXPROCS(0), bands) {
		wait.Go(func() {
			memory := gainMemories.Get().(*gainMemory)
			defer gainMemories.Put(memory)
			for i := int(next.Add(1)) - 1; i < bands; i = int(next.Add(1)) - 1 {
				from, to := i*gainRows, min((i+1)*gainRows, w.Rows)
				if first {
					memory.squares(g.squares[from:to], w.Span(from, to))
				}
				band := gainBand{g.gain[from:to], m[from:to], g.squares[from:to], b.Columns(from, to), memory.project(a, w.Span(from, to))}
				band.fill(gram, s)
			}
		})
	}
	wait.Wait()
}

// squares sets dst to the squared norms of w's rows.
func (m *gainMemory) squares(dst []float64, w kernels.Weight) {
	if w.Format == kernels.F32 {
		rows := w.Matrix() // a view
		for j := range dst {
			dst[j] = square(rows.Row(j))
		}
		return
	}
	m.row = slices.Grow(m.row[:0], w.Cols)[:w.Cols]
	for j := range dst {
		decodeRow(m.row, w, j)
		dst[j] = square(m.row)
	}
}

// project returns A·Wᵀ, [r, rows of w].
func (m *gainMemory) project(a kernels.Matrix, w kernels.Weight) kernels.Matrix {
	n := a.Rows * w.Rows
	m.projected = slices.Grow(m.projected[:0], n)[:n]
	p := kernels.MatrixOf(a.Rows, w.Rows, m.projected)
	m.worker.MatMul(p, a, w)
	return p
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

// square returns Σ v² in four partial sums.
func square(v []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(v) >= 4; v = v[4:] {
		a, b, c, d := float64(v[0]), float64(v[1]), float64(v[2]), float64(v[3])
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
	}
	for _, x := range v {
		s0 += float64(x) * float64(x)
	}
	return s0 + s1 + s2 + s3
}
