package grammar

import (
	"slices"
	"unicode/utf8"
)

// An expr is a regular expression over bytes that may call rules. A nil one is
// the empty text.
type expr interface {
	// build lays the expression between two states.
	build(b *builder, from, to int)
}

type (
	text     string // these bytes
	runes    []runeRange
	sequence []expr
	choice   []expr // none of none
	repeat   struct {
		of       expr
		min, max int // max < 0: without end
	}
	call int // a rule, by number
)

// runeRange is from one code point to another, both included.
type runeRange struct{ lo, hi rune }

func opt(e expr) expr  { return repeat{e, 0, 1} }
func star(e expr) expr { return repeat{e, 0, -1} }

// nfa is a nondeterministic automaton: edges of each state.
type nfa struct {
	bytes [][]byteEdge
	calls [][]callEdge
	empty [][]int
}

type byteEdge struct {
	lo, hi byte
	to     int
}

type callEdge struct{ rule, to int }

// builder makes one rule's nfa, within a bound of states.
type builder struct {
	nfa
	left  *budget
	fault error
}

func (b *builder) state() int {
	if !b.left.state() || b.left.work < 0 {
		b.fault = ErrTooLarge
		return 0
	}
	b.bytes, b.calls, b.empty = append(b.bytes, nil), append(b.calls, nil), append(b.empty, nil)
	return len(b.bytes) - 1
}

func (b *builder) edge(from int, lo, hi byte, to int) {
	b.bytes[from] = append(b.bytes[from], byteEdge{lo, hi, to})
}

func (b *builder) skip(from, to int) { b.empty[from] = append(b.empty[from], to) }

func (b *builder) lay(e expr, from, to int) {
	switch {
	case b.fault != nil:
	case e == nil:
		b.skip(from, to)
	default:
		e.build(b, from, to)
	}
}

func (t text) build(b *builder, from, to int) {
	for i := range len(t) {
		next := to
		if i < len(t)-1 {
			next = b.state()
		}
		b.edge(from, t[i], t[i], next)
		from = next
	}
	if len(t) == 0 {
		b.skip(from, to)
	}
}

func (s sequence) build(b *builder, from, to int) {
	for i, e := range s {
		next := to
		if i < len(s)-1 {
			next = b.state()
		}
		b.lay(e, from, next)
		from = next
	}
	if len(s) == 0 {
		b.skip(from, to)
	}
}

func (c choice) build(b *builder, from, to int) {
	for _, e := range c {
		b.lay(e, from, to)
	}
}

func (r repeat) build(b *builder, from, to int) {
	for range r.min {
		next := b.state()
		b.lay(r.of, from, next)
		from = next
		if b.fault != nil {
			return
		}
	}
	if r.max < 0 {
		loop := b.state()
		b.skip(from, loop)
		b.lay(r.of, loop, loop)
		b.skip(loop, to)
		return
	}
	for range r.max - r.min {
		b.skip(from, to)
		next := b.state()
		b.lay(r.of, from, next)
		from = next
		if b.fault != nil {
			return
		}
	}
	b.skip(from, to)
}

func (c call) build(b *builder, from, to int) {
	b.calls[from] = append(b.calls[from], callEdge{int(c), to})
}

// build lays the UTF-8 of each range: runs of code points whose encodings have
// the same length and differ in the last bytes alone.
func (r runes) build(b *builder, from, to int) {
	for _, part := range r {
		eachUTF8(part.lo, part.hi, func(lo, hi []byte) {
			at := from
			for i := range lo {
				next := to
				if i < len(lo)-1 {
					next = b.state()
				}
				if b.fault != nil {
					return
				}
				b.edge(at, lo[i], hi[i], next)
				at = next
			}
		})
	}
}

// eachUTF8 cuts a range of code points into products of ranges of bytes, as
// Cox's RE2 does.
func eachUTF8(lo, hi rune, yield func(lo, hi []byte)) {
	const surrogates, behind = 0xd800, 0xe000
	switch {
	case lo > hi:
		return
	case lo < behind && hi >= surrogates:
		eachUTF8(lo, min(hi, surrogates-1), yield)
		eachUTF8(max(lo, behind), hi, yield)
		return
	}
	for _, last := range []rune{0x7f, 0x7ff, 0xffff} {
		if lo <= last && hi > last {
			eachUTF8(lo, last, yield)
			eachUTF8(last+1, hi, yield)
			return
		}
	}
	if hi > 0x7f {
		for i := 1; i < 4; i++ {
			if mask := rune(1)<<(6*i) - 1; lo&^mask != hi&^mask {
				if lo&mask != 0 {
					eachUTF8(lo, lo|mask, yield)
					eachUTF8((lo|mask)+1, hi, yield)
					return
				}
				if hi&mask != mask {
					eachUTF8(lo, hi&^mask-1, yield)
					eachUTF8(hi&^mask, hi, yield)
					return
				}
			}
		}
	}
	yield(utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi))
}

// complement are the code points outside of the ranges, which are in order.
func complement(ranges []runeRange) (rest runes) {
	from := rune(0)
	slices.SortFunc(ranges, func(a, b runeRange) int { return int(a.lo - b.lo) })
	for _, r := range ranges {
		if r.lo > from {
			rest = append(rest, runeRange{from, r.lo - 1})
		}
		from = max(from, r.hi+1)
	}
	if from <= utf8.MaxRune {
		rest = append(rest, runeRange{from, utf8.MaxRune})
	}
	return rest
}
