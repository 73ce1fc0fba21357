package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// pooled returns what a pooler makes of x, rows [from, from+rows of x) of b.Out. Rows
// that are the same are computed once, unless an adapter acts on the pooler.
func pooled(p *Pass, pooler *Linear, b *Batch, from int, x *Value) *Value {
	segments := headSegments(p, b, from, x.Rows())
	c := b.climbing
	if len(b.trunks) == 0 || p.recording {
		return activated(p, kernels.Tanh, pooler.Forward(p, segments, x))
	}
	c.seen = slices.Grow(c.seen[:0], c.numbers)[:c.numbers]
	for i := range c.seen {
		c.seen[i] = -1
	}
	c.kept, c.back, c.of = c.kept[:0], c.back[:0], c.of[:0]
	for _, s := range segments {
		a := s.Adapter
		if delta(s, pooler.Site) == nil {
			a = nil
		}
		start := len(c.kept)
		for row := s.Start; row < s.End; row++ {
			number := c.rows[from+row]
			if a == nil && c.seen[number] >= 0 {
				c.back = append(c.back, c.seen[number])
				continue
			}
			if a == nil {
				c.seen[number] = int32(len(c.kept))
			}
			c.back = append(c.back, int32(len(c.kept)))
			c.kept = append(c.kept, int32(row))
		}
		if start < len(c.kept) {
			c.of = append(c.of, Segment{start, len(c.kept), a})
		}
	}
	if len(c.kept) == x.Rows() {
		return activated(p, kernels.Tanh, pooler.Forward(p, segments, x))
	}
	each := p.New(len(c.kept), x.Data.Cols)
	p.Gather(each.Data, x.Data, c.kept)
	made := activated(p, kernels.Tanh, pooler.Forward(p, c.of, each))
	p.Free(each)
	y := p.New(x.Rows(), made.Data.Cols)
	p.Gather(y.Data, made.Data, c.back)
	p.Free(made)
	return y
}

// tellApart takes no two of the rows in Out for the same any more: an adapter may have
// acted on them.
func (b *Batch) tellApart() {
	c := b.climbing
	if c == nil {
		return
	}
	for i := range c.rows {
		c.rows[i] = int32(i)
	}
	c.numbers = len(c.rows)
}
