package tokenizer

import (
	"fmt"
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
	unknown   int32
	fuse      bool // a run of unknown characters is one unknown token
	whole     bool // ignore_merges: a word that is a piece is that piece
	wordwise  bool // no join crosses into a ▁ from the left, so words can be cut there
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
		joined, ok := ids[merge[0]+merge[1]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, merge[0]+merge[1])
		}
		// A repeated merge takes the later rank, as in the reference.
		m.joins[pairOf(left, right)] = join{int32(rank), joined}
	}
	return nil
}

// finish derives what encode looks up from the vocabulary.
func (m *bpe) finish(ids map[string]int32) error {
	m.cache = newWordCache()
	m.pieces = ids
	for b := range m.bytes {
		m.bytes[b] = none
	}
	switch {
	case m.byteLevel:
		m.pieces = nil
		if m.whole {
			m.pieces = make(map[string]int32, len(ids))
		}
		for piece, id := range ids {
			raw, ok := alphabetBytes(piece)
			if !ok {
				continue
			}
			if len(raw) == 1 {
				m.bytes[raw[0]] = id
			}
			if m.whole {
				m.pieces[raw] = id
			}
		}
	case m.fallback:
		for b := range m.bytes {
			id, ok := ids[fallbackPiece(byte(b))]
			if !ok {
				return fmt.Errorf("byte fallback: %s is not in the vocabulary", fallbackPiece(byte(b)))
			}
			m.bytes[b] = id
		}
	}
	_, marked := ids[spaceMark]
	m.wordwise = marked && !m.byteLevel && !m.whole
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
	return nil
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
		dst = m.word(dst, text[start:end], s)
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
	dst = m.merge(dst, word, s)
	m.cache.store(slot, word, dst[start:])
	return dst
}

func (m *bpe) merge(dst []int32, word string, s *scratch) []int32 {
	if m.whole {
		if id, ok := m.pieces[word]; ok {
			return append(dst, id)
		}
	}
	s.ids = m.symbols(s.ids[:0], word)
	if len(s.ids) <= fewSymbols {
		return append(dst, mergeFew(m.joins, s.ids, &s.few)...)
	}
	return s.mergeMany(dst, m.joins)
}

// symbols appends the ids that word starts as.
func (m *bpe) symbols(dst []int32, word string) []int32 {
	if m.byteLevel {
		for i := range len(word) {
			if id := m.bytes[word[i]]; id != none {
				dst = append(dst, id)
			} else {
				dst = m.addUnknown(dst)
			}
		}
		return dst
	}
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		char := word[i : i+n]
		i += n
		id, ok := m.pieces[char]
		switch {
		case ok:
			dst = append(dst, id)
		case m.fallback:
			for k := range len(char) {
				dst = append(dst, m.bytes[char[k]])
			}
		default:
			dst = m.addUnknown(dst)
		}
	}
	return dst
}

func (m *bpe) addUnknown(dst []int32) []int32 {
	if m.unknown == none || m.fuse && len(dst) > 0 && dst[len(dst)-1] == m.unknown {
		return dst
	}
	return append(dst, m.unknown)
}
