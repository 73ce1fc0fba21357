package models

import "github.com/peft-serve/peft-serve/kernels"

// TrainablePrefix is an Adapter whose Prefix carries gradients.
type TrainablePrefix interface {
	// PrefixGrad is the gradient of Prefix, to be added to; empty: none.
	PrefixGrad(layer int) (dk, dv kernels.Matrix)
}

// storePrefixes writes the prefixes of layer i before the first position of
// each sequence. It reports whether one of them is being trained.
func storePrefixes(p *Pass, b *Batch, kv kernels.KV, i int) (trains bool) {
	for _, s := range b.Segments {
		if s.Adapter == nil {
			continue
		}
		k, v := s.Adapter.Prefix(i)
		if k.Empty() {
			continue
		}
		if _, ok := s.Adapter.(TrainablePrefix); ok {
			trains = true
		}
		p.StoreKV(kv, p.prefixes(b, s, k.Rows), k, v)
	}
	return trains
}

// loadPrefixes adds the gradients of the stored prefixes to the adapters',
// sequence by sequence. row is scratch, [2, heads*headDim].
func loadPrefixes(p *Pass, b *Batch, dkv kernels.KV, i int, row kernels.Matrix) {
	for _, s := range b.Segments {
		t, ok := s.Adapter.(TrainablePrefix)
		if !ok {
			continue
		}
		if dk, dv := t.PrefixGrad(i); !dk.Empty() {
			p.LoadKV(dk, dv, dkv, p.prefixes(b, s, dk.Rows), row)
		}
	}
}

// prefixes returns, for each sequence of a segment, the span of a prefix of n
// positions in its cache blocks. It holds until the next call.
func (p *Pass) prefixes(b *Batch, s Segment, n int) []kernels.Span {
	p.spans = p.spans[:0]
	for _, span := range b.spansOf(s) {
		p.spans = append(p.spans, kernels.Span{End: n, Blocks: span.Blocks})
	}
	return p.spans
}

// spansOf returns the sequences of a segment.
func (b *Batch) spansOf(s Segment) []kernels.Span {
	from := 0
	for from < len(b.Spans) && b.Spans[from].Start < s.Start {
		from++
	}
	to := from
	for to < len(b.Spans) && b.Spans[to].Start < s.End {
		to++
	}
	return b.Spans[from:to]
}
