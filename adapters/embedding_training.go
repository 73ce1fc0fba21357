package adapters

import (
	"math"
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

// Backward implements models.TrainableEmbedding: the gradients go to the rows
// that the tokens were read from, and to the factors of their delta.
func (d *trainedEmbedding) Backward(p *models.Pass, e *models.Embedding, tokens []int32, dy kernels.Matrix) {
	rows := make([]int32, len(tokens))
	if d.virtual != nil {
		for i, t := range tokens {
			rows[i] = -1 - t // negative for what is no virtual token
		}
		p.AddRows(d.virtual.Grad, dy, rows)
	}
	if d.low != nil {
		d.lowBackward(p, e, tokens, dy)
	}
	copy(rows, tokens) // the rest belongs to the table
	if d.tokens != nil {
		own := make([]int32, len(tokens))
		for i, t := range tokens {
			own[i] = -1
			if at, ok := slices.BinarySearchFunc(d.tokens.order, t, byToken); ok && t >= 0 {
				own[i], rows[i] = int32(d.tokens.order[at].row), -1
			}
		}
		p.AddRows(d.tokens.rows.Grad, dy, own)
	}
	if d.table.Present() && !d.table.Grad.Empty() {
		p.AddRows(d.table.Grad, dy, rows)
	}
}

// lowBackward adds to the gradients of A and B; dy becomes that of the sum.
//
//	row = W_t + s·B·a,  a = A[:, t]:  dB = s·dy·aᵀ,  da = s·Bᵀ·dy
func (d *trainedEmbedding) lowBackward(p *models.Pass, e *models.Embedding, tokens []int32, dy kernels.Matrix) {
	low := d.low
	a := p.New(dy.Rows, low.a.Weight.Cols)
	p.Gather(a.Data, low.a.Values(), tokens)
	p.Scale(a.Data, low.scale)
	if low.gain != nil {
		d.magnitudeGrad(p, e, tokens, a.Data, dy)
	}
	p.WeightGrad(low.b.Grad, a.Data, dy)
	p.MatMul(a.Data, dy, low.b.Weight)
	p.Scale(a.Data, low.scale)
	p.AddRows(low.a.Grad, a.Data, tokens)
	p.Free(a)
}

// magnitudeGrad is DoRA's: the row is g⊙(W_t + s·B·a) with g = m/n. sa is s·a,
// by token; dy becomes the gradient of what g multiplies.
func (d *trainedEmbedding) magnitudeGrad(p *models.Pass, base *models.Embedding, tokens []int32, sa, dy kernels.Matrix) {
	w := base.W
	if d.table.Present() {
		w = d.table.Weight
	}
	rows, sums := p.New(dy.Rows, dy.Cols), p.New(1, dy.Cols)
	p.Lookup(rows.Data, w, tokens)
	p.Operations.InputGrad(rows.Data, sa, d.low.b.Weight)
	p.Zero(sums.Data)
	p.ColumnProducts(sums.Data.Data, dy, rows.Data)
	p.ScaleColumns(sums.Data, d.low.gain)
	grad := d.magnitude.Grad.Data
	for _, j := range p.AddQuotients(grad, sums.Data.Data, d.magnitude.Values().Data) {
		grad[j] = float32(math.NaN())
	}
	p.ScaleColumns(dy, d.low.gain)
	p.Free(rows, sums)
}

// record: the logits of the tokens are rows of the adapter's own.
func (t *tokenRows) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	p, x, y := r.p, r.in(), r.out()
	p.Run(x.Rows, rowTask(func(w *kernels.Worker, i int) {
		t.apply(w, x.Span(i, i+1), y.Span(i, i+1))
	}))
	return func(dy, dx kernels.Matrix) {
		columns := make([]int32, len(t.order)) // the tokens by row
		for _, o := range t.order {
			columns[o.row] = o.token
		}
		own := p.New(dy.Rows, len(columns))
		p.TakeColumns(own.Data, dy, columns)
		p.WeightGrad(t.rows.Grad, own.Data, r.in())
		if !dx.Empty() {
			p.Operations.InputGrad(dx, own.Data, t.rows.Weight)
		}
		p.Free(own)
	}, []*models.Value{p.Keep(r.x)}
}
