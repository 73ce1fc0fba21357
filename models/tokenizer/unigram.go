package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// unigram cuts a word into the pieces whose scores add up to the most.
type unigram struct {
	pieces   map[string]int32
	scores   []float64 // by id
	unknown  int32
	worst    float64 // the score of an unknown character
	longest  int     // bytes of the longest piece
	fallback bool
	bytes    [256]int32
	cache    *wordCache
}

// A node is the best way to reach a place in the word.
type node struct {
	score float64
	start int32 // where its last piece starts, or none if not reached
	id    int32
}

// unknownPenalty is how far below the worst piece an unknown character scores.
const unknownPenalty = 10

func (t *Tokenizer) parseUnigram(raw json.RawMessage) (map[string]int32, error) {
	var f struct {
		component
		Unknown      *int32        `json:"unk_id"`
		Vocab        []scoredPiece `json:"vocab"`
		ByteFallback bool          `json:"byte_fallback"`
	}
	if err := decodeStrict(raw, &f); err != nil {
		return nil, err
	}
	if f.Unknown == nil {
		return nil, errors.New("unigram: no unk_id")
	}
	if *f.Unknown < 0 || int(*f.Unknown) >= len(f.Vocab) {
		return nil, fmt.Errorf("unigram: unk_id %d is outside the vocabulary of %d", *f.Unknown, len(f.Vocab))
	}
	ids := make(map[string]int32, len(f.Vocab))
	scores := make([]float64, len(f.Vocab))
	for i, p := range f.Vocab {
		if _, ok := ids[p.piece]; ok {
			return nil, fmt.Errorf("unigram: %q is in the vocabulary twice", p.piece)
		}
		ids[p.piece], scores[i] = int32(i), p.score
	}
	m, err := newUnigram(ids, scores, *f.Unknown, f.ByteFallback)
	if err != nil {
		return nil, err
	}
	t.model = m
	return ids, nil
}

func newUnigram(ids map[string]int32, scores []float64, unknown int32, fallback bool) (*unigram, error) {
	m := &unigram{pieces: ids, scores: scores, unknown: unknown, fallback: fallback, cache: newWordCache()}
	for i, score := range scores {
		if i == 0 || score < m.worst {
			m.worst = score
		}
	}
	m.worst -= unknownPenalty
	for piece := range ids {
		m.longest = max(m.longest, len(piece))
	}
	if fallback {
		for b := range m.bytes {
			id, ok := ids[fallbackPiece(byte(b))]
			if !ok {
				return nil, fmt.Errorf("byte fallback: %s is not in the vocabulary", fallbackPiece(byte(b)))
			}
			m.bytes[b] = id
		}
	}
	return m, nil
}

// scoredPiece is ["piece", -1.5].
type scoredPiece struct {
	piece string
	score float64
}

func (p *scoredPiece) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("%s is not a piece and its score", data)
	}
	if err := json.Unmarshal(parts[0], &p.piece); err != nil {
		return err
	}
	return json.Unmarshal(parts[1], &p.score)
}

func (m *unigram) hide(piece string) { delete(m.pieces, piece) }

func (m *unigram) encode(dst []int32, word string, s *scratch) []int32 {
	if len(word) > maxCached {
		return m.best(dst, word, s)
	}
	slot := m.cache.slot(word)
	if known := slot.Load(); known != nil && known.word == word {
		return append(dst, known.ids...)
	}
	start := len(dst)
	dst = m.best(dst, word, s)
	m.cache.store(slot, word, dst[start:])
	return dst
}

func (m *unigram) best(dst []int32, word string, s *scratch) []int32 {
	lattice := s.lattice[:0]
	for range len(word) + 1 {
		lattice = append(lattice, node{start: none})
	}
	s.lattice = lattice
	reach := func(end int, candidate node) {
		if lattice[end].start == none || candidate.score > lattice[end].score {
			lattice[end] = candidate
		}
	}
	for i := 0; i < len(word); {
		_, width := utf8.DecodeRuneInString(word[i:])
		single := false
		for end := i + width; end <= min(len(word), i+m.longest); end++ {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if id, ok := m.pieces[word[i:end]]; ok {
				reach(end, node{lattice[i].score + m.scores[id], int32(i), id})
				single = single || end == i+width
			}
		}
		if !single {
			reach(i+width, node{lattice[i].score + m.worst, int32(i), m.unknown})
		}
		i += width
	}
	// Walk back, and then out in order; a run of unknown characters is one.
	s.ids = s.ids[:0]
	for end := len(word); end > 0; {
		n := lattice[end]
		start := int(n.start)
		if n.id == m.unknown {
			for start > 0 && lattice[start].id == m.unknown {
				start = int(lattice[start].start)
			}
		}
		if n.id == m.unknown && m.fallback {
			for i := end - 1; i >= start; i-- {
				s.ids = append(s.ids, m.bytes[word[i]])
			}
		} else {
			s.ids = append(s.ids, n.id)
		}
		end = start
	}
	for i := len(s.ids) - 1; i >= 0; i-- {
		dst = append(dst, s.ids[i])
	}
	return dst
}
