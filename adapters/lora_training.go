package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// record: t = s·A·d(x), y += Bᵀ-rows of t, where d is dropout. Then
//
//	dB = tᵀ·dy,  dt = s·dy·B,  dA = dtᵀ·d(x),  dx += d(dt·A)
func (d *lowRank) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	p := r.p
	x, dropped := r.dropped()
	t := d.shrink(p, x)
	p.Free(dropped...)
	p.Pool.InputGrad(r.out(), t.Data, d.b.Weight)
	back := func(dy, dx kernels.Matrix) {
		x, dropped := r.dropped()
		d.backward(p, dy, r.undropped(dx), x, t)
		p.Free(dropped...)
		r.redrop(dx)
	}
	p.Free(t) // the tape keeps it
	return back, []*models.Value{r.x, t}
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
