package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// An addedToken is matched in the text before the model sees it.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between non-word characters
	LStrip     bool   `json:"lstrip"`      // takes the white space before it
	RStrip     bool   `json:"rstrip"`      // takes the white space after it
	Normalized bool   `json:"normalized"`  // matched in the normalized text
	Special    bool   `json:"special"`
}

// A matcher finds added tokens, leftmost first and the longest at each place.
type matcher struct {
	tokens []addedToken
	first  [256]bool // bytes that a token starts with
	nodes  []trieNode
}

type trieNode struct {
	next  map[byte]int32
	token int32 // index into tokens, or -1
}

func (m *matcher) add(content string, token addedToken) {
	if content == "" {
		return
	}
	if len(m.nodes) == 0 {
		m.nodes = []trieNode{{token: -1}}
	}
	at := int32(0)
	for i := range len(content) {
		next, ok := m.nodes[at].next[content[i]]
		if !ok {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, trieNode{token: -1})
			if m.nodes[at].next == nil {
				m.nodes[at].next = make(map[byte]int32)
			}
			m.nodes[at].next[content[i]] = next
		}
		at = next
	}
	m.nodes[at].token = int32(len(m.tokens))
	m.tokens = append(m.tokens, token)
	m.first[content[0]] = true
}

// longest returns the token that starts at text[i] and where it ends.
func (m *matcher) longest(text string, i int) (token, end int) {
	token = -1
	for at := int32(0); i < len(text); {
		next, ok := m.nodes[at].next[text[i]]
		if !ok {
			break
		}
		i++
		at = next
		if t := m.nodes[at].token; t >= 0 {
			token, end = int(t), i
		}
	}
	return token, end
}

// A finding is an added token in a text and the range it takes.
type finding struct {
	id         int32
	start, end int
}

// A search walks the added tokens of one text.
type search struct {
	text  string
	tick  func() bool // false: stop
	plain bool        // special tokens are plain text
	pos   int         // where to look next
	taken int         // the end of the last finding
}

// next returns the next added token, or ok false at the end of the text.
func (m *matcher) next(s *search) (f finding, ok bool) {
	if len(m.tokens) == 0 {
		return finding{}, false
	}
	for s.pos < len(s.text) {
		if !s.tick() {
			return finding{}, false
		}
		if !m.first[s.text[s.pos]] {
			s.pos++
			continue
		}
		index, end := m.longest(s.text, s.pos)
		if index < 0 {
			s.pos++
			continue
		}
		start := s.pos
		s.pos = end
		token := &m.tokens[index]
		if token.Special && s.plain || token.SingleWord && !standsAlone(s.text, start, end) {
			continue
		}
		if token.LStrip {
			start = len(strings.TrimRightFunc(s.text[:start], unicode.IsSpace))
		}
		if token.RStrip {
			end = len(s.text) - len(strings.TrimLeftFunc(s.text[end:], unicode.IsSpace))
		}
		start = max(start, s.taken)
		s.taken = end
		s.pos = max(s.pos, end)
		return finding{token.ID, start, end}, true
	}
	return finding{}, false
}

// standsAlone reports whether no word character touches text[start:end].
func standsAlone(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return (start == 0 || !isWord(before)) && (end == len(text) || !isWord(after))
}

// isWord is \w: letters, marks, decimal digits, connectors and joiners.
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) ||
		unicode.In(r, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
