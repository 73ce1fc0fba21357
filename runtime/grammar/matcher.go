package grammar

import (
	"math/bits"
	"slices"
)

// Matcher follows one answer through a grammar. It is for one goroutine at a
// time; it may be copied by Clone.
type Matcher struct {
	vocabulary *Vocabulary
	read, try  *reader
	ended      bool // by a token that ends a text
}

// NewMatcher begins an answer in the tokens of a vocabulary. All matchers of a
// grammar have the same.
func (g *Grammar) NewMatcher(v *Vocabulary) *Matcher {
	m := &Matcher{vocabulary: v, read: newReader(g)}
	m.try = &reader{Grammar: g, stacks: m.read.stacks}
	m.read.begin(g.starts[0], nil)
	return m
}

// Whole reports whether the answer may end here.
func (m *Matcher) Whole() bool { return m.read.ended }

// Mask sets the bits of the tokens that may come next, those that end a text
// included, and returns how many they are. mask has the vocabulary's Words.
func (m *Matcher) Mask(mask []uint64) (allowed int) {
	clear(mask)
	if m.ended {
		return 0
	}
	v := m.vocabulary
	for _, t := range m.read.threads {
		l := m.read.lookOf(v, t.at)
		for i, w := range l.inside {
			mask[i] |= w
		}
		if t.stack == nil {
			continue
		}
		for _, b := range l.beyond {
			if word, bit := b.token/64, uint64(1)<<(b.token%64); mask[word]&bit == 0 && m.follows(t.stack, v.texts[b.token][b.from:]) {
				mask[word] |= bit
			}
		}
	}
	if m.read.ended {
		for _, id := range v.ends {
			mask[id/64] |= 1 << (id % 64)
		}
	}
	for _, w := range mask {
		allowed += bits.OnesCount64(w)
	}
	return allowed
}

// follows reports whether a text may come once a rule has ended.
func (m *Matcher) follows(stack *frame, text []byte) bool {
	m.try.begin(stack.to, stack.up)
	for _, c := range text {
		if !m.try.step(c) {
			return false
		}
	}
	return true
}

// Accept takes the next token. It reports whether the token may come; else
// nothing has changed.
func (m *Matcher) Accept(token int32) bool {
	if m.ended || token < 0 || int(token) >= m.vocabulary.size {
		return false
	}
	if slices.Contains(m.vocabulary.ends, token) {
		m.ended = m.read.ended
		return m.ended
	}
	text := m.vocabulary.texts[token]
	m.try.threads = append(m.try.threads[:0], m.read.threads...)
	for _, c := range text {
		if !m.try.step(c) {
			return false
		}
	}
	if len(text) == 0 {
		return false
	}
	m.read, m.try = m.try, m.read
	return true
}
