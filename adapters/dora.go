package adapters

import (
	"errors"
	"math"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
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

func (g *gains) forward(o lane, x, y kernels.Matrix) {
	g.low.forward(o, x, y)
	o.ScaleColumns(y, g.gain)
}

// derivable: a row of W+sBA that is zero has no direction.
func (g *gains) derivable() error {
	if kernels.Finite(g.gain) {
		return nil
	}
	return errors.New("a row of the adapted weight is zero, DoRA has no norm for it")
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

// record: y = g⊙(W·x + s·B·A·x) with g = m/n and the norm n held constant, as
// Liu et al. (2024, section 4.3) do to save the gradient's memory. Then
//
//	dm_j = Σ dy_j·y_j/m_j,  d(W·x + s·B·A·x) = g⊙dy
//
// since y_j/m_j is what n_j divides: y is kept as it is, and nothing is
// computed twice.
func (g *gains) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	if r.d.drop.on() {
		return g.recordDropped(r)
	}
	g.forward(r, r.in(), r.out())
	t := r.takes()[0]
	return func(dy, dx kernels.Matrix) {
		g.magnitudeGrad(r, dy, r.out(), true)
		r.ScaleColumns(dy, g.gain)
		g.low.backward(r, dy, dx, r.in(), t.Data)
	}, []*models.Value{r.Keep(r.x), r.Keep(r.y), t}
}

// recordDropped is record under dropout d (peft/tuners/lora/dora.py):
//
//	y = W·x + (g-1)⊙W·d(x) + g⊙s·B·A·d(x)
//
// so W·d(x) is computed beside W·x. Of the gradients, dy stays that of W·x.
func (g *gains) recordDropped(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	p := r.Pass
	w := r.d.weightOr(r.l.W)
	x, own := r.dropped()
	g.low.shrink(r, x)
	t := r.takes()[0]
	u := p.New(x.Rows, w.Rows) // W·d(x) + s·B·A·d(x)
	p.MatMul(u.Data, x, w)
	r.free(own)
	y := r.out()
	p.AddProduct(y, u.Data, g.gain, -1)
	p.Operations.InputGrad(u.Data, t.Data, g.low.b.Weight)
	low := p.New(x.Rows, w.Rows)
	p.Zero(low.Data)
	p.Operations.InputGrad(low.Data, t.Data, g.low.b.Weight)
	p.AddProduct(y, low.Data, g.gain, 0)
	p.Free(low)
	return func(dy, dx kernels.Matrix) {
		g.magnitudeGrad(r, dy, u.Data, false)
		through := p.New(dy.Rows, dy.Cols) // the gradient of s·B·A·d(x)
		p.Copy(through.Data, dy)
		p.ScaleColumns(through.Data, g.gain)
		x, own := r.dropped()
		g.low.backward(r, through.Data, dx, x, t.Data)
		r.free(own)
		if !dx.Empty() {
			p.Zero(through.Data)
			p.AddProduct(through.Data, dy, g.gain, -1)
			back := p.New(dx.Rows, dx.Cols)
			p.Zero(back.Data)
			p.Operations.InputGrad(back.Data, through.Data, w)
			r.d.drop.apply(p, back.Data, back.Data, r.s.Start)
			p.Add(dx, back.Data)
			p.Free(back)
		}
		p.Free(through)
	}, []*models.Value{p.Keep(r.x), t, u}
}

// magnitudeGrad adds Σ_r dy_rj·v_rj/n_j to the magnitude's gradient. v is what
// the norm divides or, multiplied, that times the gain plus the bias.
func (g *gains) magnitudeGrad(r *recording, dy, v kernels.Matrix, multiplied bool) {
	p := r.Pass
	sums := p.New(2, dy.Cols)
	p.Zero(sums.Data)
	products, totals := sums.Data.Span(0, 1), sums.Data.Span(1, 2)
	p.ColumnProducts(products.Data, dy, v)
	if !multiplied {
		p.ScaleColumns(products, g.gain)
	} else if bias := r.d.biasOr(r.l); len(bias) > 0 {
		p.ColumnSums(totals.Data, dy)
		p.Scale(totals, -1)
		p.AddProduct(products, totals, bias, 0)
	}
	grad := g.magnitude.Grad.Data
	for _, j := range p.AddQuotients(grad, products.Data, g.magnitude.Values().Data) {
		grad[j] = float32(math.NaN()) // a magnitude of 0 hides its direction: the run ends by name
	}
	p.Free(sums)
}

// fold: W_j ← m_j·(W_j + s·B_j·A)/‖W_j + s·B_j·A‖.
func (g *gains) fold() func(row []float64, j int) {
	add, m := g.low.fold(), g.magnitude.vector()
	return func(row []float64, j int) {
		add(row, j)
		sum := 0.0
		for _, v := range row {
			sum += v * v
		}
		f := float64(m[j]) / math.Sqrt(sum)
		for i := range row {
			row[i] *= f
		}
	}
}
