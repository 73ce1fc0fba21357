package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// Batch is the rows of one pass. Each row is one token of one sequence; the
// rows of a sequence are consecutive, and sequences that share an adapter
// stand side by side, as far as they are not the base's: see AddFrom.
type Batch struct {
	Tokens    []int32        // by row; below 0: virtual token -1-t of the row's adapter
	Positions []int32        // by row: the token's place in its sequence, from 0
	Spans     []kernels.Span // the sequences, in row order
	Segments  []Segment      // the adapters, in row order, covering every row
	Out       []int32        // the rows whose hidden state is wanted, ascending; nil: all
	Types     []int32        // by row: the token's type, of encoders that have them; empty: all 0
	// MayKeep is how many rows Forward may keep on trunks for texts to come. What it keeps
	// is taken off.
	MayKeep int

	numbers  []int32   // 0, 1, 2, …: blocks of texts, which live as long as a layer
	texts    int       // of those, how many are given out
	riders   []rider   // the texts: see AddRider
	trunks   []company // of those that ride on trunks
	climbing *climbing // nil until texts ride
}

// A Segment is a run of batch rows that share an adapter; nil is the base.
type Segment struct {
	Start, End int
	Adapter    Adapter
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Tokens, b.Positions, b.Out = b.Tokens[:0], b.Positions[:0], b.Out[:0]
	b.Spans, b.Segments, b.Types = b.Spans[:0], b.Segments[:0], b.Types[:0]
	b.texts = 0
	for _, g := range b.trunks {
		g.trunk.number = 0
	}
	b.riders, b.trunks = b.riders[:0], b.trunks[:0]
}

// Add appends the rows of one sequence, whose first token has the given
// position and whose cache blocks, from position 0 on, are blocks.
func (b *Batch) Add(tokens []int32, position int, blocks []int32, a Adapter) {
	b.AddFrom(tokens, position, blocks, a, 0)
}

// AddText appends the rows of a text that an encoder computes whole, whose first
// token has the given position, with a type for each token; nil: 0.
func (b *Batch) AddText(tokens, types []int32, position int, a Adapter) {
	b.AddRider(tokens, types, position, a, Ride{})
}

func (b *Batch) addText(tokens, types []int32, position int, a Adapter) {
	end := b.texts + (position+len(tokens)+kernels.BlockLen-1)/kernels.BlockLen
	for n := len(b.numbers); n < end; n++ {
		b.numbers = append(b.numbers, int32(n))
	}
	b.Add(tokens, position, b.numbers[b.texts:end:end], a)
	b.texts = end
	b.Types = append(b.Types, types...)
	for len(b.Types) < len(b.Tokens) {
		b.Types = append(b.Types, 0)
	}
}

// AddFrom is Add of a sequence on which the adapter acts from a position on:
// the rows before it are the base's.
func (b *Batch) AddFrom(tokens []int32, position int, blocks []int32, a Adapter, from int) {
	start := len(b.Tokens)
	b.Tokens = append(b.Tokens, tokens...)
	for i := range tokens {
		b.Positions = append(b.Positions, int32(position+i))
	}
	end := len(b.Tokens)
	b.Spans = append(b.Spans, kernels.Span{Start: start, End: end, Position: position, Blocks: blocks})
	acts := min(max(start+from-position, start), end)
	b.segment(start, acts, nil)
	b.segment(acts, end, a)
}

// segment gives rows, the next ones, to an adapter.
func (b *Batch) segment(start, end int, a Adapter) {
	if start == end {
		return
	}
	if last := len(b.Segments) - 1; last >= 0 && b.Segments[last].Adapter == a {
		b.Segments[last].End = end
		return
	}
	b.Segments = append(b.Segments, Segment{start, end, a})
}

// Activation is the position from which an adapter of those invocation tokens
// acts on a sequence: the last place where they stand in it, its beginning where
// there are none; -1: nowhere.
func Activation(tokens, invocation []int32) int {
	if len(invocation) == 0 {
		return 0
	}
	for i := len(tokens) - len(invocation); i >= 0; i-- {
		if slices.Equal(tokens[i:i+len(invocation)], invocation) {
			return i
		}
	}
	return -1
}

// Rows is the number of rows.
func (b *Batch) Rows() int { return len(b.Tokens) }

// outSegments returns the segments of the rows in Out, numbered by their place
// in Out.
func (b *Batch) outSegments(p *Pass) []Segment {
	if b.Out == nil {
		return b.Segments
	}
	p.segments = p.segments[:0]
	i := 0
	for _, s := range b.Segments {
		start := i
		for i < len(b.Out) && int(b.Out[i]) < s.End {
			i++
		}
		if i > start {
			p.segments = append(p.segments, Segment{start, i, s.Adapter})
		}
	}
	return p.segments
}
