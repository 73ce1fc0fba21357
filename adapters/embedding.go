package adapters

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// embedding is all that an adapter does at one Embedding: a table of its own,
// rows of its own for some tokens, a low-rank delta, virtual tokens.
type embedding struct {
	base    *models.Embedding
	table   *Param         // in W's place; absent: W
	tokens  *tokenRows     // nil: none
	low     *embeddingLoRA // nil: none
	virtual *Param         // [n, hidden]: prompt tuning; nil: none
}

// active reports whether there is anything to do.
func (d *embedding) active() bool {
	return d.table.replaces() || d.tokens != nil || d.low != nil || d.virtual != nil
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
	if d.low != nil {
		d.low.apply(w, token, row)
	}
}

func decodeRow(dst []float32, w kernels.Weight, row int) {
	kernels.Decode(dst, w.Format, w.Row(row))
}

// embeddingLoRA is LoRA on a lookup: row += s·B·A[:, token], and DoRA's gain
// (PEFT, lora/layer.py Embedding). A is [r, V] in the file and B [d, r]; both
// are held transposed, so that a token reads one row of A.
type embeddingLoRA struct {
	a, b  *Param
	scale float32
	gain  []float32 // DoRA's, [d]; nil: none
}

func (d *embeddingLoRA) apply(w *kernels.Worker, token int32, row []float32) {
	r := d.a.Weight.Cols
	t := w.Scratch(r)
	decodeRow(t, d.a.Weight, int(token))
	for i := range t {
		t[i] *= d.scale
	}
	expand(w, kernels.MatrixOf(1, len(row), row), kernels.MatrixOf(1, r, t), d.b.Weight)
	if d.gain != nil {
		kernels.Mul(row, d.gain)
	}
}
