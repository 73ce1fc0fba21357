package tokenizer

// wordLevel knows whole words only.
type wordLevel struct {
	words   map[string]int32
	unknown int32
}

func (m *wordLevel) hide(piece string) { delete(m.words, piece) }

// span: a word that is unknown is one id, however long.
func (m *wordLevel) span() int { return 0 }

func (m *wordLevel) encode(dst []int32, word string, _ *scratch) []int32 {
	if id, ok := m.words[word]; ok {
		return append(dst, id)
	}
	return append(dst, m.unknown)
}
