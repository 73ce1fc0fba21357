package grammar

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
)

// Vocabulary is the text of every token, in the order in which it is gone
// through: tokens that begin alike stand together.
type Vocabulary struct {
	size   int      // tokens, and so bits of a mask
	texts  [][]byte // by token; nil: no text
	ids    []int32
	bytes  [][]byte // of ids[i]
	common []int32  // bytes that bytes[i] begins like bytes[i-1] with
	ends   []int32  // tokens that end a text

	mu     sync.Mutex
	shared map[place]*look // of rules that many grammars have
}

// place is a state of a rule that many grammars have.
type place struct {
	rule  string
	state int32
}

// NewVocabulary makes one of tokens 0 to size-1. text gives nil for tokens that
// are not text; ends are those that end one.
func NewVocabulary(size int, text func(id int32) []byte, ends []int32) *Vocabulary {
	v := &Vocabulary{size: size, ends: ends, texts: make([][]byte, size), shared: map[place]*look{}}
	type token struct {
		id    int32
		bytes []byte
	}
	var all []token
	for id := range int32(size) {
		if b := text(id); len(b) > 0 && !slices.Contains(ends, id) {
			all = append(all, token{id, b})
			v.texts[id] = b
		}
	}
	slices.SortFunc(all, func(a, b token) int {
		return cmp.Or(bytes.Compare(a.bytes, b.bytes), cmp.Compare(a.id, b.id))
	})
	var before []byte
	for _, t := range all {
		n := 0
		for n < min(len(t.bytes), len(before)) && t.bytes[n] == before[n] {
			n++
		}
		v.ids, v.bytes, v.common = append(v.ids, t.id), append(v.bytes, t.bytes), append(v.common, int32(n))
		before = t.bytes
	}
	return v
}

// Words is the length of a mask: bit id%64 of word id/64 is a token's.
func (v *Vocabulary) Words() int { return (v.size + 63) / 64 }
