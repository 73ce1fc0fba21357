package models

import "github.com/peft-serve/peft-serve/kernels"

// Embedding looks tokens up in its weight, [vocabulary, hidden].
type Embedding struct {
	Site int
	W    kernels.Weight

	WGrad kernels.Matrix // empty unless W is being trained
}

// Forward returns the embedding of each row's token, [rows, hidden].
func (e *Embedding) Forward(p *Pass, b *Batch) *Value {
	y := p.New(b.Rows(), e.W.Cols)
	t := &p.lookups
	t.e, t.b, t.y = e, b, y.Data
	p.Pool.Run(len(b.Spans), t)
	return y
}

// lookupTask embeds the tokens of one span a part.
type lookupTask struct {
	e *Embedding
	b *Batch
	y kernels.Matrix
}

func (t *lookupTask) Part(w *kernels.Worker, part int) {
	span := t.b.Spans[part]
	var d EmbeddingDelta
	for _, s := range t.b.Segments {
		if s.Start <= span.Start && span.Start < s.End && s.Adapter != nil {
			d = s.Adapter.Embedding(t.e.Site)
		}
	}
	for r := span.Start; r < span.End; r++ {
		token, row := t.b.Tokens[r], t.y.Row(r)
		if token >= 0 {
			kernels.Decode(row, t.e.W.Format, t.e.W.Row(int(token)))
		}
		if d != nil {
			d.Apply(w, t.e, token, row)
		}
	}
}
