package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// record: t = s·A·d(x), y += B·t, where d is dropout. Then
//
//	dB = dy·tᵀ,  dt = s·Bᵀ·dy,  dA = dt·d(x)ᵀ,  dx += d(Aᵀ·dt)
func (d *lowRank) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	in, own := r.dropped()
	t := d.shrink(r.p, in)
	r.free(own)
	r.p.Pool.InputGrad(r.out(), t.Data, d.b.Weight)
	return func(dy, dx kernels.Matrix) {
		in, own := r.dropped()
		d.backward(r, dy, dx, in, t.Data)
		r.free(own)
	}, []*models.Value{r.p.Keep(r.x), t}
}

// shrink returns t = s·A·x.
func (d *lowRank) shrink(p *models.Pass, x kernels.Matrix) *models.Value {
	t := p.New(x.Rows, d.a.Weight.Rows)
	p.Pool.MatMul(t.Data, x, d.a.Weight)
	for i := range t.Data.Data {
		t.Data.Data[i] *= d.scale
	}
	return t
}

// backward adds the gradients of A, B and x, given dropout's result x.
func (d *lowRank) backward(r *recording, dy, dx, x, t kernels.Matrix) {
	p := r.p
	p.Pool.WeightGrad(d.b.Grad, t, dy)
	dt := p.New(t.Rows, t.Cols)
	p.Pool.MatMul(dt.Data, dy, d.b.Weight)
	for i := range dt.Data.Data {
		dt.Data.Data[i] *= d.scale
	}
	p.Pool.WeightGrad(d.a.Grad, dt.Data, x)
	switch {
	case dx.Empty():
	case r.d.drop.on():
		back := p.New(dx.Rows, dx.Cols)
		back.Data.Zero()
		p.Pool.InputGrad(back.Data, dt.Data, d.a.Weight)
		r.d.drop.apply(p, back.Data, back.Data, r.s.Start)
		p.Pool.Add(dx, back.Data)
		p.Free(back)
	default:
		p.Pool.InputGrad(dx, dt.Data, d.a.Weight)
	}
	p.Free(dt)
}

// dropped returns the rows of x under the dropout mask, and the Value that
// holds them; x itself and nil without dropout.
func (r *recording) dropped() (kernels.Matrix, *models.Value) {
	x := r.in()
	if !r.d.drop.on() {
		return x, nil
	}
	v := r.p.New(x.Rows, x.Cols)
	r.d.drop.apply(r.p, v.Data, x, r.s.Start)
	return v.Data, v
}

func (r *recording) free(v *models.Value) {
	if v != nil {
		r.p.Free(v)
	}
}
