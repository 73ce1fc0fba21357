package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// lowRank is y += s·B·A·x (Hu et al., 2021): A is [r, in], B is [out, r] in
// the file and held as [r, out]. The shrink t = s·A·x is a product along A's
// rows. The expand adds t_k times row k of Bᵀ for k = 0, 1, …: long vectors
// however small r is, and the same kernels as a backward pass needs, B's
// gradient and t's too.
type lowRank struct {
	a, b  *Param
	scale float32
}

func (d *lowRank) forward(o lane, x, y kernels.Matrix) {
	o.InputGrad(y, d.shrink(o, x), d.b.Weight)
}

// shrink takes t = s·A·x.
func (d *lowRank) shrink(o lane, x kernels.Matrix) (t kernels.Matrix) {
	t = o.Take(x.Rows, d.a.Weight.Rows)
	o.MatMul(t, x, d.a.Weight)
	o.Scale(t, d.scale)
	return t
}

// times implements additive.
func (d *lowRank) times(f float64) delta {
	return &lowRank{a: d.a, b: d.b, scale: float32(float64(d.scale) * f)}
}

// record: t = s·A·d(x), y += B·t, where d is dropout. Then
//
//	dB = dy·tᵀ,  dt = s·Bᵀ·dy,  dA = dt·d(x)ᵀ,  dx += d(Aᵀ·dt)
func (d *lowRank) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	in, own := r.dropped()
	d.forward(r, in, r.out())
	t := r.takes()[0]
	r.free(own)
	return func(dy, dx kernels.Matrix) {
		in, own := r.dropped()
		d.backward(r, dy, dx, in, t.Data)
		r.free(own)
	}, []*models.Value{r.Keep(r.x), t}
}

// backward adds the gradients of A, B and x, given dropout's result x.
func (d *lowRank) backward(r *recording, dy, dx, x, t kernels.Matrix) {
	p := r.Pass
	p.WeightGrad(d.b.Grad, t, dy)
	dt := p.New(t.Rows, t.Cols)
	p.MatMul(dt.Data, dy, d.b.Weight)
	p.Scale(dt.Data, d.scale)
	p.WeightGrad(d.a.Grad, dt.Data, x)
	r.inputGrad(dx, dt.Data, d.a.Weight)
	p.Free(dt)
}

// inputGrad adds d(Aᵀ·dt) to dx (empty: not wanted), where d is dropout.
func (r *recording) inputGrad(dx, dt kernels.Matrix, a kernels.Weight) {
	switch {
	case dx.Empty():
	case r.d.drop.on():
		back := r.New(dx.Rows, dx.Cols)
		r.Zero(back.Data)
		r.InputGrad(back.Data, dt, a)
		r.d.drop.apply(r.Pass, back.Data, back.Data, r.s.Start)
		r.Add(dx, back.Data)
		r.Free(back)
	default:
		r.InputGrad(dx, dt, a)
	}
}

// dropped returns the rows of x under the dropout mask, and the Value that
// holds them; x itself and nil without dropout.
func (r *recording) dropped() (kernels.Matrix, *models.Value) {
	x := r.in()
	if !r.d.drop.on() {
		return x, nil
	}
	v := r.New(x.Rows, x.Cols)
	r.d.drop.apply(r.Pass, v.Data, x, r.s.Start)
	return v.Data, v
}

func (r *recording) free(v *models.Value) {
	if v != nil {
		r.Free(v)
	}
}

// fold: W_j += s·B_j·A.
func (d *lowRank) fold() func(row []float64, j int) {
	a, b, s := d.a.Values(), d.b.Values(), float64(d.scale)
	return func(row []float64, j int) {
		for k := range a.Rows {
			addScaled(row, s*float64(b.Row(k)[j]), a.Row(k))
		}
	}
}
