package adapters

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// trainedEmbedding is an embedding with gradients.
type trainedEmbedding struct {
	*embedding
	magnitude *Param // DoRA's; nil: none
}

var _ models.TrainableEmbedding = (*trainedEmbedding)(nil)

// Backward implements models.TrainableEmbedding: the gradient goes to the row
// that the token was read from, and to the factors of its delta.
func (d *trainedEmbedding) Backward(e *models.Embedding, token int32, dy []float32) {
	if token < 0 {
		if d.virtual != nil {
			kernels.Add(d.virtual.Grad.Row(int(-1-token)), dy)
		}
		return
	}
	if d.low != nil {
		dy = d.lowBackward(e, token, dy)
	}
	if d.tokens != nil {
		if i, ok := slices.BinarySearchFunc(d.tokens.order, token, byToken); ok {
			kernels.Add(d.tokens.rows.Grad.Row(d.tokens.order[i].row), dy)
			return
		}
	}
	if d.table.Present() && !d.table.Grad.Empty() {
		kernels.Add(d.table.Grad.Row(int(token)), dy)
	}
}

// lowBackward adds to the gradients of A and B; it returns that of the row.
//
//	row = W_t + s·B·a,  a = A[:, t]:  dB = s·dy·aᵀ,  da = s·Bᵀ·dy
func (d *trainedEmbedding) lowBackward(base *models.Embedding, token int32, dy []float32) []float32 {
	low := d.low
	a, b := low.a.Values().Row(int(token)), low.b.Values()
	if low.gain != nil {
		dy = d.magnitudeGrad(base, token, a, b, dy)
	}
	da := low.a.Grad.Row(int(token))
	for k, v := range a {
		kernels.AddScaled(low.b.Grad.Row(k), low.scale*v, dy)
		da[k] += low.scale * kernels.Dot(b.Row(k), dy)
	}
	return dy
}

// magnitudeGrad is DoRA's: the row is g⊙(W_t + s·B·a) with g = m/n.
func (d *trainedEmbedding) magnitudeGrad(base *models.Embedding, token int32, a []float32, b kernels.Matrix, dy []float32) []float32 {
	row, out := make([]float32, len(dy)), make([]float32, len(dy))
	w := base.W
	if d.table.Present() {
		w = d.table.Weight
	}
	decodeRow(row, w, int(token))
	for k, v := range a {
		kernels.AddScaled(row, d.low.scale*v, b.Row(k))
	}
	m, grad := d.magnitude.Values().Data, d.magnitude.Grad.Data
	for j, g := range dy {
		grad[j] += g * row[j] * d.low.gain[j] / m[j]
		out[j] = g * d.low.gain[j]
	}
	return out
}

// record: the logits of the tokens are rows of the adapter's own.
func (t *tokenRows) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	x, y := r.in(), r.out()
	r.p.Pool.Run(x.Rows, rowTask(func(w *kernels.Worker, i int) {
		t.apply(w, x.Span(i, i+1), y.Span(i, i+1))
	}))
	return func(dy, dx kernels.Matrix) {
		values := t.rows.Values()
		for i := range dy.Rows {
			row := dy.Row(i)
			for _, o := range t.order {
				g := row[o.token]
				row[o.token] = 0
				kernels.AddScaled(t.rows.Grad.Row(o.row), g, r.in().Row(i))
				if !dx.Empty() {
					kernels.AddScaled(dx.Row(i), g, values.Row(o.row))
				}
			}
		}
	}, []*models.Value{r.p.Keep(r.x)}
}
