package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const none int32 = -1

// bpe is byte-pair encoding: a word starts as single characters (or bytes, for
// a byte-level vocabulary) and the pair of lowest rank is joined until no pair
// has one; equal ranks join from the left.
type bpe struct {
	pieces    map[string]int32 // as the words are spelled here: raw bytes if byteLevel
	joins     map[pair]join
	bytes     [256]int32 // byteLevel: each byte's id; byteFallback: that of <0xXX>
	byteLevel bool       // words are raw bytes, the vocabulary is in the byte alphabet
	fallback  bool       // characters that are not pieces become byte pieces
	prefix    string     // of the pieces that continue a word
	suffix    string     // of the pieces that end one
	unknown   int32      // none: unknown characters are dropped
	fuse      bool       // a run of unknown characters is one unknown token
	whole     bool       // ignore_merges: a word that is a piece is that piece
	wordwise  bool       // no join crosses into a ▁ from the left, so words can be cut there
	longest   int        // bytes of the longest piece
	spans     bool       // no character is dropped or becomes one with others that are unknown
	cache     *wordCache
}

// A pair is two neighbouring ids, the left in the upper half.
type pair uint64

func pairOf(left, right int32) pair { return pair(uint32(left))<<32 | pair(uint32(right)) }

// A join is what a pair becomes, and when.
type join struct{ rank, id int32 }

const spaceMark = "▁"

// addMerges fills joins from the merges of a vocabulary, in order of rank.
func (m *bpe) addMerges(ids map[string]int32, merges [][2]string) error {
	m.joins = make(map[pair]join, len(merges))
	for rank, merge := range merges {
		left, ok := ids[merge[0]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, merge[0])
		}
		right, ok := ids[merge[1]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, merge[1])
		}
		rest, ok := strings.CutPrefix(merge[1], m.prefix)
		if !ok {
			return fmt.Errorf("merge %d: %q does not begin with the continuing_subword_prefix %q", rank, merge[1], m.prefix)
		}
		joined, ok := ids[merge[0]+rest]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, merge[0]+rest)
		}
		// A repeated merge takes the later rank, as in the reference.
		m.joins[pairOf(left, right)] = join{int32(rank), joined}
	}
	return nil
}

// finish derives what encode looks up from the vocabulary.
func (m *bpe) finish(ids map[string]int32) {
	m.cache = newWordCache()
	m.pieces = ids
	for b := range m.bytes {
		m.bytes[b] = none
	}
	defer m.findSpan()
	if m.byteLevel {
		m.finishBytes(ids)
		return
	}
	for piece := range ids {
		m.longest = max(m.longest, len(piece))
	}
	if m.fallback {
		for b := range m.bytes {
			if id, ok := ids[fallbackPiece(byte(b))]; ok {
				m.bytes[b] = id
			}
		}
	}
	_, marked := ids[spaceMark]
	m.wordwise = marked && !m.whole && m.prefix == "" && m.suffix == ""
	if m.wordwise {
		names := make(map[int32]string, len(ids))
		for piece, id := range ids {
			names[id] = piece
		}
		for _, j := range m.joins {
			if strings.Contains(strings.TrimLeft(names[j.id], spaceMark), spaceMark) {
				m.wordwise = false
				break
			}
		}
	}
}

func (m *bpe) finishBytes(ids map[string]int32) {
	m.pieces = nil
	if m.whole {
		m.pieces = make(map[string]int32, len(ids))
	}
	for piece, id := range ids {
		raw, ok := alphabetBytes(piece)
		if !ok {
			continue
		}
		m.longest = max(m.longest, len(raw))
		if len(raw) == 1 {
			m.bytes[raw[0]] = id
		}
		if m.whole {
			m.pieces[raw] = id
		}
	}
}

// spansBytes reports whether every byte has a piece.
func (m *bpe) spansBytes() bool { return !slices.Contains(m.bytes[:], none) }

// findSpan sets spans.
func (m *bpe) findSpan() {
	m.longest = max(m.longest, utf8.UTFMax)
	m.spans = m.unknown != none && !m.fuse || (m.byteLevel || m.fallback) && m.spansBytes()
}

func (m *bpe) needed(text string) (bytes, longest int) {
	switch {
	case m.spans:
		return len(text), m.longest
	case !m.byteLevel:
		return 0, m.longest
	}
	for i := range len(text) {
		if m.bytes[text[i]] != none {
			bytes++
		}
	}
	return bytes, m.longest
}

func (m *bpe) hide(piece string) {
	if m.byteLevel {
		piece, _ = alphabetBytes(piece)
	}
	delete(m.pieces, piece)
}

func (m *bpe) encode(dst []int32, text string, s *scratch) []int32 {
	if !m.wordwise {
		return m.word(dst, text, s)
	}
	for start := 0; start < len(text); {
		end := start
		for strings.HasPrefix(text[end:], spaceMark) {
			end += len(spaceMark)
		}
		if n := strings.Index(text[end:], spaceMark); n >= 0 {
			end += n
		} else {
			end = len(text)
		}
		if dst = m.word(dst, text[start:end], s); !s.fits(len(dst)) {
			break
		}
		start = end
	}
	return dst
}

func (m *bpe) word(dst []int32, word string, s *scratch) []int32 {
	if len(word) > maxCached {
		return m.merge(dst, word, s)
	}
	slot := m.cache.slot(word)
	if known := slot.Load(); known != nil && known.word == word {
		return append(dst, known.ids...)
	}
	start := len(dst)
	if dst = m.merge(dst, word, s); s.err != nil {
		return dst
	}
	m.cache.store(slot, word, dst[start:])
	return dst
}

func (m *bpe) merge(dst []int32, word string, s *scratch) []int32 {
	if m.whole {
		if id, ok := m.pieces[word]; ok {
			return append(dst, id)
		}
	}
	if len(word) > maxKept {
		if bytes, longest := m.needed(word); !s.least(len(dst), ceil(bytes, longest)) {
			return dst
		}
	}
	s.ids = m.start(slices.Grow(s.ids[:0], min(len(word), maxKept)), word)
	if !s.least(len(dst), ceil(len(s.ids), m.longest)) {
		return dst
	}
	if len(s.ids) <= fewSymbols {
		return append(dst, mergeFew(m.joins, s.ids, &s.few)...)
	}
	s.symbols = slices.Grow(s.symbols[:0], len(s.ids))
	for _, id := range s.ids {
		s.symbols = append(s.symbols, symbol{id: id})
	}
	return s.mergeMany(dst, m.joins)
}

// start appends the ids that word starts as.
func (m *bpe) start(dst []int32, word string) []int32 {
	c := characters{dst: dst, bpe: m}
	if m.byteLevel {
		for i := range len(word) {
			c.add(m.bytes[word[i]], "")
		}
		return c.end()
	}
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		piece := word[i : i+n]
		if i > 0 && m.prefix != "" {
			piece = m.prefix + piece
		}
		if i += n; i == len(word) && m.suffix != "" {
			piece += m.suffix
		}
		id, ok := m.pieces[piece]
		if !ok {
			id = none
		}
		c.add(id, piece)
	}
	return c.end()
}

// characters collects what a word starts as. An unknown token waits until a
// piece follows, or the word ends, as in the reference.
type characters struct {
	*bpe
	dst     []int32
	waiting bool
}

// add takes a character's id; none: its spelling is not a piece.
func (c *characters) add(id int32, spelled string) {
	switch {
	case id != none:
		if c.waiting {
			c.waiting = false
			c.dst = append(c.dst, c.unknown)
		}
		c.dst = append(c.dst, id)
	case c.fallback && spelled != "" && c.known(spelled):
		for i := range len(spelled) {
			c.dst = append(c.dst, c.bytes[spelled[i]])
		}
	case c.unknown != none:
		if c.waiting && !c.fuse {
			c.dst = append(c.dst, c.unknown)
		}
		c.waiting = true
	}
}

// known reports whether all bytes of a spelling have pieces.
func (c *characters) known(spelled string) bool {
	for i := range len(spelled) {
		if c.bytes[spelled[i]] == none {
			return false
		}
	}
	return true
}

func (c *characters) end() []int32 {
	if c.waiting {
		c.dst = append(c.dst, c.unknown)
	}
	return c.dst
}
