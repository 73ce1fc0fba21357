package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

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
	p := r.p
	t := g.low.shrink(p, r.in())
	p.Pool.InputGrad(r.out(), t.Data, g.low.b.Weight)
	multiply(p, r.out(), g.gain)
	return func(dy, dx kernels.Matrix) {
		g.magnitudeGrad(r, dy, r.out(), true)
		multiply(p, dy, g.gain)
		g.low.backward(r, dy, dx, r.in(), t.Data)
	}, []*models.Value{p.Keep(r.x), p.Keep(r.y), t}
}

// recordDropped is record under dropout d (peft/tuners/lora/dora.py):
//
//	y = W·x + (g-1)⊙W·d(x) + g⊙s·B·A·d(x)
//
// so W·d(x) is computed beside W·x. Of the gradients, dy stays that of W·x.
func (g *gains) recordDropped(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	p := r.p
	w := r.d.weightOr(r.l.W)
	x, own := r.dropped()
	t := g.low.shrink(p, x)
	u := p.New(x.Rows, w.Rows) // W·d(x) + s·B·A·d(x)
	p.Pool.MatMul(u.Data, x, w)
	r.free(own)
	y := r.out()
	addProduct(p, y, u.Data, g.gain, -1)
	p.Pool.InputGrad(u.Data, t.Data, g.low.b.Weight)
	low := p.New(x.Rows, w.Rows)
	low.Data.Zero()
	p.Pool.InputGrad(low.Data, t.Data, g.low.b.Weight)
	addProduct(p, y, low.Data, g.gain, 0)
	p.Free(low)
	return func(dy, dx kernels.Matrix) {
		g.magnitudeGrad(r, dy, u.Data, false)
		through := p.New(dy.Rows, dy.Cols) // the gradient of s·B·A·d(x)
		through.Data.Copy(dy)
		multiply(p, through.Data, g.gain)
		x, own := r.dropped()
		g.low.backward(r, through.Data, dx, x, t.Data)
		r.free(own)
		if !dx.Empty() {
			through.Data.Zero()
			addProduct(p, through.Data, dy, g.gain, -1)
			back := p.New(dx.Rows, dx.Cols)
			back.Data.Zero()
			p.Pool.InputGrad(back.Data, through.Data, w)
			r.d.drop.apply(p, back.Data, back.Data, r.s.Start)
			p.Pool.Add(dx, back.Data)
			p.Free(back)
		}
		p.Free(through)
	}, []*models.Value{p.Keep(r.x), t, u}
}

// magnitudeGrad adds Σ_r dy_rj·v_rj/n_j to the magnitude's gradient. v is what
// the norm divides or, multiplied, that times the gain plus the bias.
func (g *gains) magnitudeGrad(r *recording, dy, v kernels.Matrix, multiplied bool) {
	sums := r.p.New(2, dy.Cols)
	sums.Data.Zero()
	products, totals := sums.Data.Row(0), sums.Data.Row(1)
	columnProducts(r.p, products, dy, v)
	m, grad := g.magnitude.Values().Data, g.magnitude.Grad.Data
	if !multiplied {
		for j, s := range products {
			grad[j] += s * g.gain[j] / m[j]
		}
		r.p.Free(sums)
		return
	}
	if bias := r.d.biasOr(r.l); len(bias) > 0 {
		r.p.Pool.ColumnSums(totals, dy)
		for j, b := range bias {
			products[j] -= b * totals[j]
		}
	}
	for j, s := range products {
		grad[j] += s / m[j]
	}
	r.p.Free(sums)
}

// biasOr returns the adapted bias, or the base's.
func (d *linear) biasOr(l *models.Linear) []float32 {
	if d.bias != nil {
		return d.bias
	}
	return l.Bias
}

// multiply multiplies each row of y by f.
func multiply(p *models.Pass, y kernels.Matrix, f []float32) {
	p.Pool.Run(y.Rows, rowTask(func(_ *kernels.Worker, r int) { kernels.Mul(y.Row(r), f) }))
}

// addProduct adds (f + c)⊙x to y, row by row.
func addProduct(p *models.Pass, y, x kernels.Matrix, f []float32, c float32) {
	p.Pool.Run(y.Rows, rowTask(func(_ *kernels.Worker, r int) {
		row, v := y.Row(r), x.Row(r)
		for i := range row {
			row[i] += (f[i] + c) * v[i]
		}
	}))
}
