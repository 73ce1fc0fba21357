package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// record: y = f⊙(W·x + b), so df_j = Σ dy_j·y_j/f_j, from y as it is; where f_j
// is 0 there is nothing to divide and W·x is computed again.
func (f *outputFactor) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	multiply(r.p, r.out(), f.factor)
	return func(dy, dx kernels.Matrix) {
		sums := r.p.New(1, dy.Cols)
		sums.Data.Zero()
		columnProducts(r.p, sums.Data.Data, dy, r.out())
		for j, s := range sums.Data.Data {
			if v := f.factor[j]; v != 0 {
				f.param.Grad.Data[j] += s / v
			} else {
				f.param.Grad.Data[j] += f.atZero(r, dy, j)
			}
		}
		r.p.Free(sums)
		multiply(r.p, dy, f.factor)
	}, []*models.Value{r.p.Keep(r.x), r.p.Keep(r.y)}
}

// atZero is df_j where f_j is 0.
func (f *outputFactor) atZero(r *recording, dy kernels.Matrix, j int) float32 {
	row := make([]float32, r.l.W.Cols)
	decodeRow(row, r.l.W, j)
	sum := float32(0)
	for i := range dy.Rows {
		v := kernels.Dot(row, r.in().Row(i))
		if len(r.l.Bias) > 0 {
			v += r.l.Bias[j]
		}
		sum += dy.Row(i)[j] * v
	}
	return sum
}
