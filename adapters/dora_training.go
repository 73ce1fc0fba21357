package adapters

import (
	"math"

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
	p.Operations.InputGrad(r.out(), t.Data, g.low.b.Weight)
	p.ScaleColumns(r.out(), g.gain)
	return func(dy, dx kernels.Matrix) {
		g.magnitudeGrad(r, dy, r.out(), true)
		p.ScaleColumns(dy, g.gain)
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
	p := r.p
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

// biasOr returns the adapted bias, or the base's.
func (d *linear) biasOr(l *models.Linear) []float32 {
	if d.bias != nil {
		return d.bias
	}
	return l.Bias
}
