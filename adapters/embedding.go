package adapters

import (
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// embedding is all that an adapter does at one Embedding: a table of its own,
// rows of its own for some tokens, low-rank deltas, virtual tokens.
type embedding struct {
	base    *models.Embedding
	table   *Param           // in W's place; absent: W
	tokens  *tokenRows       // nil: none
	low     []*embeddingLoRA // in their order; several in a combination
	virtual *Param           // [n, hidden]: prompt tuning; nil: none
}

var _ models.TrainableEmbedding = (*embedding)(nil)

// active reports whether there is anything to do.
func (d *embedding) active() bool {
	return d.table.replaces() || d.tokens != nil || len(d.low) > 0 || d.virtual != nil
}

// Apply implements models.EmbeddingDelta.
func (d *embedding) Apply(w *kernels.Worker, _ *models.Embedding, token int32, row []float32) {
	if token < 0 {
		if d.virtual != nil {
			decodeRow(row, d.virtual.Weight, int(-1-token))
		} else {
			clear(row)
		}
		return
	}
	if d.table.replaces() {
		decodeRow(row, d.table.Weight, int(token))
	}
	if d.tokens != nil {
		if i, ok := slices.BinarySearchFunc(d.tokens.order, token, byToken); ok {
			decodeRow(row, d.tokens.rows.Weight, d.tokens.order[i].row)
		}
	}
	for _, low := range d.low {
		low.apply(w, token, row)
	}
}

func decodeRow(dst []float32, w kernels.Weight, row int) {
	kernels.Decode(dst, w.Format, w.Row(row))
}

// embeddingLoRA is LoRA on a lookup: row += s·B·A[:, token], and DoRA's gain
// (PEFT, lora/layer.py Embedding). A is [r, V] in the file and B [d, r]; both
// are held transposed, so that a token reads one row of A.
type embeddingLoRA struct {
	a, b      *Param
	scale     float32
	gain      []float32 // DoRA's, [d]; nil: none
	magnitude *Param    // DoRA's, [d]; nil: none
}

func (d *embeddingLoRA) apply(w *kernels.Worker, token int32, row []float32) {
	r := d.a.Weight.Cols
	t := w.Scratch(r)
	decodeRow(t, d.a.Weight, int(token))
	for i := range t {
		t[i] *= d.scale
	}
	w.InputGrad(kernels.MatrixOf(1, len(row), row), kernels.MatrixOf(1, r, t), d.b.Weight)
	if d.gain != nil {
		kernels.Mul(row, d.gain)
	}
}

// times is f times the delta: see additive. There is no gain.
func (d *embeddingLoRA) times(f float64) *embeddingLoRA {
	return &embeddingLoRA{a: d.a, b: d.b, scale: float32(float64(d.scale) * f)}
}

// Backward implements models.TrainableEmbedding: the gradients go to the rows
// that the tokens were read from, and to the factors of their delta.
func (d *embedding) Backward(p *models.Pass, e *models.Embedding, tokens []int32, dy kernels.Matrix) {
	rows := make([]int32, len(tokens))
	if d.virtual != nil {
		for i, t := range tokens {
			rows[i] = -1 - t // negative for what is no virtual token
		}
		p.AddRows(d.virtual.Grad, dy, rows)
	}
	for i := len(d.low) - 1; i >= 0; i-- {
		d.lowBackward(p, d.low[i], e, tokens, dy)
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
func (d *embedding) lowBackward(p *models.Pass, low *embeddingLoRA, e *models.Embedding, tokens []int32, dy kernels.Matrix) {
	a := p.New(dy.Rows, low.a.Weight.Cols)
	p.Gather(a.Data, low.a.Values(), tokens)
	p.Scale(a.Data, low.scale)
	if low.gain != nil {
		d.magnitudeGrad(p, low, e, tokens, a.Data, dy)
	}
	p.WeightGrad(low.b.Grad, a.Data, dy)
	p.MatMul(a.Data, dy, low.b.Weight)
	p.Scale(a.Data, low.scale)
	p.AddRows(low.a.Grad, a.Data, tokens)
	p.Free(a)
}

// magnitudeGrad is DoRA's: the row is g⊙(W_t + s·B·a) with g = m/n. sa is s·a,
// by token; dy becomes the gradient of what g multiplies.
func (d *embedding) magnitudeGrad(p *models.Pass, low *embeddingLoRA, base *models.Embedding, tokens []int32, sa, dy kernels.Matrix) {
	w := base.W
	if d.table.Present() {
		w = d.table.Weight
	}
	rows, sums := p.New(dy.Rows, dy.Cols), p.New(1, dy.Cols)
	p.Lookup(rows.Data, w, tokens)
	p.Operations.InputGrad(rows.Data, sa, low.b.Weight)
	p.Zero(sums.Data)
	p.ColumnProducts(sums.Data.Data, dy, rows.Data)
	p.ScaleColumns(sums.Data, low.gain)
	grad := low.magnitude.Grad.Data
	for _, j := range p.AddQuotients(grad, sums.Data.Data, low.magnitude.Values().Data) {
		grad[j] = float32(math.NaN())
	}
	p.ScaleColumns(dy, low.gain)
	p.Free(rows, sums)
}

// merge is the table with the delta of every token.
func (d *embedding) merge(site int) Merged {
	w := d.base.W
	if d.table.replaces() {
		w = d.table.Weight
	}
	var folds []embeddingFold
	for _, low := range d.low {
		folds = append(folds, embeddingFold{low.a.Values(), low.b.Values(), float64(low.scale), low.gain})
	}
	return Merged{site, ".weight", w.Rows, w.Cols, func(dst []float64, i int) {
		wideRow(dst, w, i)
		if d.tokens != nil {
			d.tokens.set(dst, i)
		}
		for _, f := range folds {
			f.add(dst, i)
		}
	}}
}

// embeddingFold is row += s·B·A[:, token], and DoRA's gain.
type embeddingFold struct {
	a, b  kernels.Matrix // [V, r], [r, d]
	scale float64
	gain  []float32
}

func (f embeddingFold) add(row []float64, token int) {
	for k, v := range f.a.Row(token) {
		addScaled(row, f.scale*float64(v), f.b.Row(k))
	}
	for j, g := range f.gain {
		row[j] *= float64(g)
	}
}
