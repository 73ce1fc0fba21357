package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// record: y = f⊙(W·x + b), so df_j = Σ dy_j·y_j/f_j, from y as it is; where f_j
// is 0 there is nothing to divide and W·x is computed again.
func (f *outputFactor) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	p := r.p
	p.ScaleColumns(r.out(), f.factor)
	return func(dy, dx kernels.Matrix) {
		sums := p.New(1, dy.Cols)
		p.Zero(sums.Data)
		p.ColumnProducts(sums.Data.Data, dy, r.out())
		for _, j := range p.AddQuotients(f.param.Grad.Data, sums.Data.Data, f.factor) {
			f.atZero(r, dy, j)
		}
		p.Free(sums)
		p.ScaleColumns(dy, f.factor)
	}, []*models.Value{p.Keep(r.x), p.Keep(r.y)}
}

// atZero adds df_j where f_j is 0.
func (f *outputFactor) atZero(r *recording, dy kernels.Matrix, j int) {
	p := r.p
	v := p.New(dy.Rows, 1)
	p.MatMul(v.Data, r.in(), r.l.W.Span(j, j+1))
	if len(r.l.Bias) > 0 {
		p.AddBias(v.Data, r.l.Bias[j:j+1])
	}
	p.ColumnProducts(f.param.Grad.Data[j:j+1], dy.Columns(j, j+1), v.Data)
	p.Free(v)
}
