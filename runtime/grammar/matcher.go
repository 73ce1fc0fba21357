package grammar

import (
	"math/bits"
	"slices"
	"sync"
)

// A Constraint keeps texts of a vocabulary's tokens within a grammar. It may be
// used by any number of goroutines.
type Constraint struct {
	*Grammar
	vocabulary *Vocabulary

	mu     sync.Mutex
	stacks stacks
	frames int // of those, that room has been taken for
	looks  map[thread]*look
	masks  map[thread]*mask // of whole threads, their stacks included
	bytes  int              // of all of those
	closed bool             // nothing is kept any more
}

// mask is the tokens that a thread can read.
type mask struct {
	words   []uint64
	allowed int
	over    bool // it is not known: some can be read in too many ways
}

// In is the constraint to a grammar of texts of a vocabulary's tokens.
func (g *Grammar) In(v *Vocabulary) *Constraint {
	return &Constraint{Grammar: g, vocabulary: v, stacks: stacks{}, looks: map[thread]*look{}, masks: map[thread]*mask{}}
}

// Tokens is how many tokens the vocabulary has.
func (c *Constraint) Tokens() int { return c.vocabulary.size }

// keep takes room for what is found out, and reports whether there is some. What
// the constraint has kept gives way first.
func (c *Constraint) keep(bytes int) bool {
	const most = 8 << 20 // of one constraint
	if c.closed {
		return false
	}
	if c.bytes+bytes > most || !c.vocabulary.room.Take(bytes) {
		c.drop()
		if !c.vocabulary.room.Take(bytes) {
			return false
		}
	}
	c.bytes += bytes
	return true
}

// drop forgets what is kept.
func (c *Constraint) drop() {
	clear(c.stacks)
	clear(c.looks)
	clear(c.masks)
	c.vocabulary.room.Give(c.bytes)
	c.bytes, c.frames = 0, 0
}

// keepFrames takes room for the frames that have come about.
func (c *Constraint) keepFrames() {
	const frameBytes = 96 // with its place in the map
	if n := len(c.stacks) - c.frames; n > 0 && c.keep(n*frameBytes) {
		c.frames = len(c.stacks)
	}
}

// Drop gives back the room of what has been found out, unless it is being used just
// now. It is found out again if need be.
func (c *Constraint) Drop() {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		c.drop()
	}
}

// Close gives back the room of what has been found out. From then on nothing is
// kept, though a matcher may still go on.
func (c *Constraint) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
	c.closed = true
}

// Matcher follows one text through a constraint. It is for one goroutine at a
// time.
type Matcher struct {
	*Constraint
	ends      []int32 // tokens that end a text
	read, try *reader
	ended     bool // by one of those
	over      bool // the text can be read in too many ways

	mask  mask // of the tokens that may come next, if known
	known bool
	own   []uint64 // scratch
}

// NewMatcher begins a text, which any of some tokens ends.
func (c *Constraint) NewMatcher(ends []int32) *Matcher {
	c.mu.Lock()
	defer c.mu.Unlock()
	ends = slices.DeleteFunc(slices.Clone(ends), func(id int32) bool { return id < 0 || int(id) >= c.vocabulary.size })
	m := &Matcher{Constraint: c, ends: ends, own: make([]uint64, c.vocabulary.Words())}
	m.read, m.try = &reader{Grammar: c.Grammar, stacks: c.stacks}, &reader{Grammar: c.Grammar, stacks: c.stacks}
	m.read.begin(c.first(), nil)
	return m
}

// Whole reports whether the text may end here.
func (m *Matcher) Whole() bool { return m.read.ended }

// Mask has the bits of the tokens that may come next, those that end the text
// included, and says how many they are. It is only read, until the next Accept.
func (m *Matcher) Mask() (words []uint64, allowed int) {
	if m.known {
		return m.mask.words, m.mask.allowed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mask, m.known = m.next(), true
	if m.over = m.over || m.mask.over; m.over {
		clear(m.own)
		m.mask = mask{words: m.own}
	}
	return m.mask.words, m.mask.allowed
}

// Err tells why no token may come, where that is not because of the grammar.
func (m *Matcher) Err() error {
	if m.over {
		return errWays
	}
	return nil
}

// Over reports whether the text is at its end, for want of a token that ends it.
func (m *Matcher) Over() bool {
	return len(m.ends) == 0 && m.read.ended && len(m.read.threads) == 0
}

// Only is the token that comes next, if there is only one that may. Where more than
// one byte may come it is not looked for.
func (m *Matcher) Only() (token int32, only bool) {
	if !m.known && m.branches() {
		return 0, false
	}
	words, allowed := m.Mask()
	if allowed != 1 {
		return 0, false
	}
	at := slices.IndexFunc(words, func(w uint64) bool { return w != 0 })
	return int32(64*at + bits.TrailingZeros64(words[at])), true
}

// branches reports whether more than one byte may come next.
func (m *Matcher) branches() bool {
	first := -1
	for _, t := range m.read.threads {
		for _, e := range m.states[t.at].bytes {
			if first >= 0 && int(e.lo) != first || e.lo != e.hi {
				return true
			}
			first = int(e.lo)
		}
	}
	return first >= 0 && m.read.ended
}

// next makes the mask.
func (m *Matcher) next() mask {
	v := m.vocabulary
	isText := func(id int32) bool { return v.texts[id] != nil }
	if len(m.read.threads) == 1 && !m.read.ended && !slices.ContainsFunc(m.ends, isText) {
		return *m.maskOf(m.read.threads[0])
	}
	clear(m.own)
	if m.ended {
		return mask{words: m.own}
	}
	over := false
	for _, t := range m.read.threads {
		if len(m.states[t.at].bytes) == 0 {
			continue // what it calls has threads too
		}
		of := m.maskOf(t)
		over = over || of.over
		for i, w := range of.words {
			m.own[i] |= w
		}
	}
	for _, id := range m.ends {
		switch word, bit := &m.own[id/64], uint64(1)<<(id%64); {
		case m.read.ended:
			*word |= bit
		default:
			*word &^= bit
		}
	}
	return newMask(m.own, over)
}

func newMask(words []uint64, over bool) (m mask) {
	m.words, m.over = words, over
	for _, w := range words {
		m.allowed += bits.OnesCount64(w)
	}
	return m
}

// maskOf is the mask of a thread, which is found out once.
func (m *Matcher) maskOf(t thread) *mask {
	v := m.vocabulary
	key := t
	key.span = m.near(t)
	if known := m.masks[key]; known != nil {
		return known
	}
	l := m.lookOf(t)
	words, over := slices.Clone(l.inside), l.over
	for _, b := range l.beyond {
		word, bit := b.token/64, uint64(1)<<(b.token%64)
		if t.stack == nil || words[word]&bit != 0 {
			continue
		}
		if m.follows(t.stack, v.texts[b.token][b.from:]) {
			words[word] |= bit
		}
		over = over || m.try.over
	}
	made := newMask(words, over)
	if m.keep(8*len(words) + 128) {
		m.masks[key] = &made
	}
	return &made
}

// follows reports whether a text may come once a rule has ended.
func (m *Matcher) follows(stack *frame, text []byte) bool {
	m.try.begin(thread{at: stack.to, span: anySpan}, stack.up)
	if m.try.over {
		return false
	}
	for _, c := range text {
		if !m.try.step(c) {
			return false
		}
	}
	return true
}

// Accept takes the next token. It reports whether the token may come; else the
// text is as it was.
func (m *Matcher) Accept(token int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || token < 0 || int(token) >= m.vocabulary.size {
		return false
	}
	if slices.Contains(m.ends, token) {
		m.ended = m.read.ended
		m.known = m.known && !m.ended
		return m.ended
	}
	text := m.vocabulary.texts[token]
	m.try.threads = append(m.try.threads[:0], m.read.threads...)
	for _, c := range text {
		if !m.try.step(c) {
			m.over = m.over || m.try.over
			return false
		}
	}
	if len(text) == 0 {
		return false
	}
	m.read, m.try, m.known = m.try, m.read, false
	m.keepFrames()
	return true
}
