package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// layered is a model whose layers can be computed one by one.
type layered interface {
	// enter returns what goes into the first layer, and layer what comes out of one,
	// given what goes into it, which it frees. The last returns the rows in b.Out.
	enter(p *Pass, b *Batch) *Value
	layer(p *Pass, b *Batch, c *Cache, i int, x *Value) *Value
}

// forward returns the rows in b.Out that come out of the last of so many layers.
func (b *Batch) forward(p *Pass, m layered, c *Cache, layers int) *Value {
	if len(b.trunks) > 0 && !p.recording {
		return b.climb(p, m, layers)
	}
	x := m.enter(p, b)
	for i := range layers {
		x = m.layer(p, b, c, i, x)
	}
	return x
}

// climb is forward of a batch with trunks. The layers between two at which texts part
// are a stage, whose batch has each trunk once.
func (b *Batch) climb(p *Pass, m layered, layers int) (x *Value) {
	if b.climbing == nil {
		b.climbing = &climbing{}
	}
	c := b.climbing
	c.prepare(b, layers)
	c.shared = 0
	var at *Batch
	for i := range layers {
		if i == 0 || c.parts[i] {
			c.keep(p, b, i, x)
			at = c.stage(b, i, x)
			x = c.move(p, at, x)
			if i == 0 && at.Rows() > 0 {
				x = m.enter(p, at)
			}
		}
		if i == layers-1 {
			c.want(b, at)
		}
		if at.Rows() > 0 {
			x = m.layer(p, at, nil, i, x)
		}
		c.shared += b.Rows() - at.Rows()
	}
	return c.leave(p, b, layers, x)
}

// climbing is the memory of climb.
type climbing struct {
	parts   []bool   // by layer: a stage begins there
	batches [2]Batch // of the stage under way, and of the one before or after
	now     int
	moves   []rowMove
	place   []int32 // by row of the last stage: its number among those that are wanted; -1: it is not
	rows    []int32 // by row in Out: its number among those that are wanted and those that are kept
	numbers int     // of those
	shared  int     // see Shared
	seen    []int32 // see pooled
	kept    []int32 // likewise
	back    []int32
	of      []Segment
}

// rowMove is rows that a stage begins with.
type rowMove struct {
	to  int
	src kernels.Matrix
}

// prepare finds out how far each trunk has to be computed, and where stages begin.
func (c *climbing) prepare(b *Batch, layers int) {
	c.parts = slices.Grow(c.parts[:0], layers+1)[:layers+1]
	clear(c.parts)
	b.wanted()
	for i := range b.trunks {
		g := &b.trunks[i]
		g.from, g.to, g.at = layers, 0, -1
		g.wanted = [2]int{-1, -1}
	}
	for i := range b.riders {
		t := &b.riders[i]
		if t.at, t.kept = -1, false; t.trunk < 0 || t.layers == 0 {
			continue
		}
		g := &b.trunks[t.trunk]
		if t.layers < layers {
			c.parts[t.layers] = true
			t.kept = g.trunk.find(t.layers, 0, b.Spans[i].End-b.Spans[i].Start) != nil
		} else if t.kept = t.from == t.to || g.trunk.find(layers, t.from, t.to) != nil; !t.kept {
			if g.wanted[0] < 0 {
				g.wanted = [2]int{t.from, t.to}
			}
			g.wanted = [2]int{min(g.wanted[0], t.from), max(g.wanted[1], t.to)}
		}
		if !t.kept {
			g.from, g.to = min(g.from, t.layers), max(g.to, t.layers)
		}
	}
	for i := range b.trunks {
		g := &b.trunks[i]
		if g.to == 0 {
			continue
		}
		span, most := b.Spans[g.last], g.from
		g.from = 0
		for _, k := range g.trunk.kept {
			if k.layer <= most && k.layer < layers && k.from == 0 && k.rows.Rows == span.End-span.Start {
				g.from = max(g.from, k.layer)
			}
		}
		c.parts[g.from] = true
	}
}

// wanted finds the rows of each text that are wanted.
func (b *Batch) wanted() {
	next := 0
	for i := range b.riders {
		t, span := &b.riders[i], b.Spans[i]
		if t.from, t.to = 0, 0; b.Out == nil {
			t.to = span.End - span.Start
			continue
		}
		for first := next; next < len(b.Out) && int(b.Out[next]) < span.End; next++ {
			if next == first {
				t.from = int(b.Out[next]) - span.Start
			}
			t.to = int(b.Out[next]) - span.Start + 1
		}
	}
}

// stage lays out the batch of the stage that begins with a layer, whose rows come from
// those of the stage before, x, or have been kept.
func (c *climbing) stage(b *Batch, layer int, x *Value) *Batch {
	c.now = 1 - c.now
	to := &c.batches[c.now]
	to.Reset()
	c.moves = c.moves[:0]
	before := func(at, n int) kernels.Matrix { return x.Data.Span(at, at+n) }
	for i := range b.trunks { // its rows in the stage before are needed until all texts are placed
		b.trunks[i].first = -1
	}
	for i := range b.riders {
		t, span := &b.riders[i], b.Spans[i]
		n, a := span.End-span.Start, t.adapter
		var src kernels.Matrix
		switch rides := t.trunk >= 0; {
		case rides && t.layers > layer:
			g := &b.trunks[t.trunk]
			if g.first >= 0 || layer < g.from || layer >= g.to {
				continue
			}
			switch {
			case layer == 0:
			case g.at < 0:
				src = g.trunk.find(layer, 0, n).rows
			default:
				src = before(g.at, n)
			}
			g.first, a = to.Rows(), nil
		case rides && t.lead != i:
			continue
		case layer == 0:
			t.at = to.Rows()
		case t.at < 0 && t.kept:
			src, t.at = b.trunks[t.trunk].trunk.find(layer, 0, n).rows, to.Rows()
		case t.at < 0:
			src, t.at = before(b.trunks[t.trunk].at, n), to.Rows()
		default:
			src, t.at = before(t.at, n), to.Rows()
		}
		if layer > 0 {
			c.moves = append(c.moves, rowMove{to.Rows(), src})
		}
		to.addText(b.Tokens[span.Start:span.End], b.Types[span.Start:span.End], span.Position, a)
	}
	for i := range b.trunks {
		b.trunks[i].at = b.trunks[i].first
	}
	return to
}

// move returns the rows that a stage begins with, and frees those of the one before;
// nil: it has none, or is the first.
func (c *climbing) move(p *Pass, to *Batch, x *Value) (y *Value) {
	if len(c.moves) > 0 {
		y = p.New(to.Rows(), c.moves[0].src.Cols)
		for _, m := range c.moves {
			p.Copy(y.Data.Span(m.to, m.to+m.src.Rows), m.src)
		}
		clear(c.moves)
	}
	if x != nil {
		p.Free(x)
	}
	return y
}

// keep keeps the rows of trunks from which texts part before a layer.
func (c *climbing) keep(p *Pass, b *Batch, layer int, x *Value) {
	for i := range b.riders {
		t, span := &b.riders[i], b.Spans[i]
		if t.trunk < 0 || t.layers != layer || t.kept {
			continue
		}
		n := span.End - span.Start
		if g := &b.trunks[t.trunk]; g.keep && g.at >= 0 && g.trunk.find(layer, 0, n) == nil {
			b.keep(p, g.trunk, layer, 0, x.Data.Span(g.at, g.at+n))
		}
	}
}

// source is the place in the last stage of the rows of a text, which ride to its end
// or not; -1: they have been kept.
func (b *Batch) source(t *rider, layers int) int {
	switch {
	case t.trunk < 0:
		return t.at
	case t.layers < layers:
		return b.riders[t.lead].at
	case t.kept:
		return -1
	}
	return b.trunks[t.trunk].at
}

// want tells the last stage which of its rows are wanted.
func (c *climbing) want(b, last *Batch) {
	layers := len(c.parts) - 1
	c.place = slices.Grow(c.place[:0], last.Rows())[:last.Rows()]
	for i := range c.place {
		c.place[i] = -1
	}
	b.eachOut(func(_ int, t *rider, offset int) {
		if at := b.source(t, layers); at >= 0 {
			c.place[at+offset] = 0
		}
	})
	last.Out = slices.Grow(last.Out[:0], last.Rows())
	for row, wanted := range c.place {
		if wanted == 0 {
			c.place[row] = int32(len(last.Out))
			last.Out = append(last.Out, int32(row))
		}
	}
}

// eachOut calls f for each row that is wanted: its place in Out, its text, and its
// place in that.
func (b *Batch) eachOut(f func(out int, t *rider, offset int)) {
	next := 0
	for i := range b.riders {
		t, span := &b.riders[i], b.Spans[i]
		if b.Out == nil {
			for row := span.Start; row < span.End; row++ {
				f(row, t, row-span.Start)
			}
			continue
		}
		for ; next < len(b.Out) && int(b.Out[next]) < span.End; next++ {
			f(next, t, int(b.Out[next])-span.Start)
		}
	}
}

// leave returns the rows that are wanted, given those of the last stage, each once,
// which it frees.
func (c *climbing) leave(p *Pass, b *Batch, layers int, x *Value) *Value {
	c.numbers = 0
	var one kernels.Matrix
	if x != nil {
		c.numbers, one = x.Rows(), x.Data
		c.keepLast(p, b, layers, x)
	}
	for i := range b.trunks {
		b.trunks[i].first = -1
	}
	c.rows = c.rows[:0]
	ordered := true
	b.eachOut(func(out int, t *rider, offset int) {
		if at := b.source(t, layers); at >= 0 {
			c.rows = append(c.rows, c.place[at+offset])
		} else {
			g := &b.trunks[t.trunk]
			k := g.trunk.find(layers, t.from, t.to)
			if one.Empty() {
				one = k.rows
			}
			if g.first < 0 {
				g.first = c.numbers
				c.numbers += b.Spans[g.last].End - b.Spans[g.last].Start
			}
			c.rows = append(c.rows, int32(g.first+offset))
		}
		ordered = ordered && int(c.rows[out]) == out
	})
	if ordered && x != nil && len(c.rows) == x.Rows() {
		return x
	}
	y := p.New(len(c.rows), one.Cols)
	b.eachOut(func(out int, t *rider, offset int) {
		src := one
		row := int(c.rows[out])
		if b.source(t, layers) < 0 {
			k := b.trunks[t.trunk].trunk.find(layers, t.from, t.to)
			src, row = k.rows, offset-k.from
		}
		p.Copy(y.Data.Span(out, out+1), src.Span(row, row+1))
	})
	if x != nil {
		p.Free(x)
	}
	return y
}

// keepLast keeps what came out of the last layer for texts that are to come.
func (c *climbing) keepLast(p *Pass, b *Batch, layers int, x *Value) {
	for i := range b.trunks {
		g := &b.trunks[i]
		from, to := g.wanted[0], g.wanted[1]
		if !g.keep || from < 0 || g.trunk.find(layers, from, to) != nil {
			continue
		}
		first, last := int(c.place[g.at+from]), int(c.place[g.at+to-1])
		if last-first == to-1-from { // none between them is missing
			b.keep(p, g.trunk, layers, from, x.Data.Span(first, last+1))
		}
	}
}

// Shared is how many rows the last Forward did not compute because others stood for
// them, counted in each layer.
func (b *Batch) Shared() int {
	if len(b.trunks) == 0 {
		return 0
	}
	return b.climbing.shared
}
