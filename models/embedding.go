package models

import "github.com/peft-serve/peft-serve/kernels"

// Embedding looks tokens up in its weight, [vocabulary, hidden].
type Embedding struct {
	Site  int
	W     kernels.Weight
	Scale float32 // on what is looked up, adapted or not; 0: none

	WGrad kernels.Matrix // empty unless W is being trained
}

// Forward returns the embedding of each row's index, [rows, hidden]: its token
// or, for learned positions, its position.
func (e *Embedding) Forward(p *Pass, b *Batch, indices []int32) *Value {
	y := p.New(b.Rows(), e.W.Cols)
	t := &p.lookups
	t.e, t.b, t.indices, t.y = e, b, indices, y.Data
	p.Run(len(b.Spans), t)
	if p.recording && p.Tracks(y, e.trains(b)) {
		p.OnBackward(y, func(dy kernels.Matrix) { e.backward(p, b, indices, dy) })
	}
	return y
}

// trains reports whether W or a segment's delta is being trained.
func (e *Embedding) trains(b *Batch) bool {
	trains := !e.WGrad.Empty()
	for _, s := range b.Segments {
		if s.Adapter != nil {
			_, ok := s.Adapter.Embedding(e.Site).(TrainableEmbedding)
			trains = trains || ok
		}
	}
	return trains
}

// backward adds each row's gradient to its token's, in row order.
func (e *Embedding) backward(p *Pass, b *Batch, indices []int32, dy kernels.Matrix) {
	if e.Scale != 0 {
		for r, token := range indices {
			if token >= 0 {
				p.Scale(dy.Span(r, r+1), e.Scale)
			}
		}
	}
	for _, s := range b.Segments {
		of, rows := indices[s.Start:s.End], dy.Span(s.Start, s.End)
		if s.Adapter != nil {
			if t, ok := s.Adapter.Embedding(e.Site).(TrainableEmbedding); ok {
				t.Backward(p, e, of, rows)
			}
		}
		if !e.WGrad.Empty() {
			p.AddRows(e.WGrad, rows, of)
		}
	}
}

// lookupTask embeds the tokens of one span a part.
type lookupTask struct {
	e       *Embedding
	b       *Batch
	indices []int32
	y       kernels.Matrix
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
		token, row := t.indices[r], t.y.Row(r)
		if token >= 0 && int(token) < t.e.W.Rows {
			kernels.Decode(row, t.e.W.Format, t.e.W.Row(int(token)))
		}
		if d != nil {
			d.Apply(w, t.e, token, row)
		}
		if t.e.Scale != 0 && token >= 0 {
			for i := range row {
				row[i] *= t.e.Scale
			}
		}
	}
}
