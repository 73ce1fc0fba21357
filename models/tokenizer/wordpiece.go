package tokenizer

import "unicode/utf8"

// wordPiece takes the longest piece that starts a word, then the longest that
// continues it; a word that cannot be covered is unknown as a whole.
type wordPiece struct {
	starts    map[string]int32
	continues map[string]int32 // without their "##"
	unknown   int32
	longest   int // bytes of the longest piece
	maxRunes  int // a longer word is unknown
	cache     *wordCache
}

func (m *wordPiece) finish() {
	m.cache = newWordCache()
	for _, pieces := range []map[string]int32{m.starts, m.continues} {
		for piece := range pieces {
			m.longest = max(m.longest, len(piece))
		}
	}
}

func (m *wordPiece) hide(piece string) { delete(m.starts, piece) }

func (m *wordPiece) encode(dst []int32, word string, s *scratch) []int32 {
	if len(word) > maxCached {
		return m.cover(dst, word, s)
	}
	slot := m.cache.slot(word)
	if known := slot.Load(); known != nil && known.word == word {
		return append(dst, known.ids...)
	}
	start := len(dst)
	dst = m.cover(dst, word, s)
	m.cache.store(slot, word, dst[start:])
	return dst
}

// needed: a word that is unknown is one id, however long.
func (m *wordPiece) needed(string) (bytes, longest int) { return 0, 1 }

func (m *wordPiece) cover(dst []int32, word string, s *scratch) []int32 {
	begin := len(dst)
	if utf8.RuneCountInString(word) > m.maxRunes {
		return append(dst, m.unknown)
	}
	pieces := m.starts
	for start := 0; start < len(word) && s.tick(); {
		id, end := none, min(len(word), start+m.longest)
		for ; end > start; end-- {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if known, ok := pieces[word[start:end]]; ok {
				id = known
				break
			}
		}
		if id == none {
			return append(dst[:begin], m.unknown)
		}
		dst = append(dst, id)
		start = end
		pieces = m.continues
	}
	return dst
}
