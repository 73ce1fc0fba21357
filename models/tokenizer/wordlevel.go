package tokenizer

// wordLevel knows whole words only.
type wordLevel struct {
	words   map[string]int32
	unknown int32
}

func (m *wordLevel) hide(piece string) { delete(m.words, piece) }

// needed: a word that is unknown is one id, however long.
func (m *wordLevel) needed(string) (bytes, longest int) { return 0, 1 }

func (m *wordLevel) encode(dst []int32, word string, _ *scratch) []int32 {
	if id, ok := m.words[word]; ok {
		return append(dst, id)
	}
	return append(dst, m.unknown)
}
