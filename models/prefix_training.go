package models

import "github.com/peft-serve/peft-serve/kernels"

// TrainablePrefix is an Adapter whose Prefix carries gradients.
type TrainablePrefix interface {
	// PrefixGrad is the gradient of Prefix, to be added to; empty: none.
	PrefixGrad(layer int) (dk, dv kernels.Matrix)
}

// storePrefixes writes the prefixes of layer i before the first position of
// each sequence. It reports whether one of them is being trained.
func storePrefixes(b *Batch, kv kernels.KV, i int) (trains bool) {
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
		for _, span := range b.spansOf(s) {
			for n := range k.Rows {
				kv.Store(span.Blocks[n/kernels.BlockLen], n, k.Row(n), v.Row(n))
			}
		}
	}
	return trains
}

// loadPrefixes adds the gradients of the stored prefixes to the adapters',
// sequence by sequence.
func loadPrefixes(p *Pass, b *Batch, dkv kernels.KV, i int) {
	row := p.New(2, dkv.Heads*dkv.HeadDim)
	for _, s := range b.Segments {
		t, ok := s.Adapter.(TrainablePrefix)
		if !ok {
			continue
		}
		dk, dv := t.PrefixGrad(i)
		if dk.Empty() {
			continue
		}
		for _, span := range b.spansOf(s) {
			for n := range dk.Rows {
				dkv.Load(span.Blocks[n/kernels.BlockLen], n, row.Data.Row(0), row.Data.Row(1))
				kernels.Add(dk.Row(n), row.Data.Row(0))
				kernels.Add(dv.Row(n), row.Data.Row(1))
			}
		}
	}
	p.Free(row)
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
