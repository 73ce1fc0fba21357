package adapters

import "github.com/peft-serve/peft-serve/kernels"

// lowRank is y += s·B·A·x (Hu et al., 2021): A is [r, in], B is [out, r] in
// the file and held as [r, out]. The shrink t = s·A·x is a product along A's
// rows. The expand adds t_k times row k of Bᵀ for k = 0, 1, …: long vectors
// however small r is, and the same kernels as a backward pass needs, B's
// gradient and t's too.
type lowRank struct {
	a, b  *Param
	scale float32
}

func (d *lowRank) apply(w *kernels.Worker, x, y kernels.Matrix) {
	r := d.a.Weight.Rows
	t := kernels.MatrixOf(x.Rows, r, w.Scratch(x.Rows*r))
	w.MatMul(t, x, d.a.Weight)
	for i := range t.Data {
		t.Data[i] *= d.scale
	}
	expand(w, y, t, d.b.Weight)
}

// expand adds t·Bᵀ to y: t is [rows, r], b holds Bᵀ, [r, out].
func expand(w *kernels.Worker, y, t kernels.Matrix, b kernels.Weight) {
	if b.Format != kernels.F32 {
		w.InputGrad(y, t, b)
		return
	}
	m := b.Matrix() // a view
	for r := range y.Rows {
		row := y.Row(r)
		for k, v := range t.Row(r) {
			kernels.AddScaled(row, v, m.Row(k))
		}
	}
}
