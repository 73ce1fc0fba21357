package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// unigram cuts a word into the pieces whose scores add up to the most.
type unigram struct {
	pieces   map[string]int32
	scores   []float64 // by id
	unknown  int32
	worst    float64 // the score of an unknown character
	lengths  []int32 // of the pieces in bytes, by id
	longest  int     // the largest of them
	fallback bool
	bytes    [256]int32
	cache    *wordCache
}

// unknownChar is reached by an unknown character.
const unknownChar int32 = -2

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
	m.lengths = make([]int32, len(scores))
	for piece, id := range ids {
		m.lengths[id] = int32(len(piece))
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
	if dst = m.best(dst, word, s); s.err != nil {
		return dst
	}
	m.cache.store(slot, word, dst[start:])
	return dst
}

// needed: a run of unknown characters is one id unless bytes stand for it.
func (m *unigram) needed(text string) (bytes, longest int) {
	if m.fallback {
		bytes = len(text)
	}
	return bytes, max(m.longest, utf8.UTFMax)
}

// best keeps, for each place in the word, the piece that the best way there
// ends with, and the scores of the last few places alone.
func (m *unigram) best(dst []int32, word string, s *scratch) []int32 {
	if bytes, longest := m.needed(word); !s.least(len(dst), ceil(bytes, longest)) {
		return dst
	}
	s.reached = slices.Grow(s.reached[:0], len(word)+1)[:len(word)+1]
	for i := range s.reached {
		s.reached[i] = none
	}
	window := max(m.longest, utf8.UTFMax) + 1
	s.scores = slices.Grow(s.scores[:0], window)[:window]
	s.scores[0] = 0
	for i := 0; i < len(word); {
		if !s.tick() {
			return dst
		}
		_, width := utf8.DecodeRuneInString(word[i:])
		here := s.scores[i%window]
		reach := func(end int, id int32, score float64) {
			if at := &s.scores[end%window]; s.reached[end] == none || here+score > *at {
				s.reached[end], *at = id, here+score
			}
		}
		single := false
		for end := i + width; end <= min(len(word), i+m.longest); end++ {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if id, ok := m.pieces[word[i:end]]; ok {
				reach(end, id, m.scores[id])
				single = single || end == i+width
			}
		}
		if !single {
			reach(i+width, unknownChar, m.worst)
		}
		i += width
	}
	return m.trace(dst, word, s)
}

// trace walks back along the best way, and then out in order; a run of unknown
// characters is one.
func (m *unigram) trace(dst []int32, word string, s *scratch) []int32 {
	s.ids = s.ids[:0]
	for end := len(word); end > 0; {
		id := s.reached[end]
		if id != m.unknown && id != unknownChar {
			s.ids = append(s.ids, id)
			end -= int(m.lengths[id])
			continue
		}
		start := end
		for ; start > 0 && (id == m.unknown || id == unknownChar); id = s.reached[start] {
			if id == m.unknown { // spelled out in the text
				start -= int(m.lengths[id])
				continue
			}
			_, n := utf8.DecodeLastRuneInString(word[:start])
			start -= n
		}
		if m.fallback {
			for i := end - 1; i >= start; i-- {
				s.ids = append(s.ids, m.bytes[word[i]])
			}
		} else {
			s.ids = append(s.ids, m.unknown)
		}
		end = start
	}
	for i := len(s.ids) - 1; i >= 0; i-- {
		dst = append(dst, s.ids[i])
	}
	return dst
}
