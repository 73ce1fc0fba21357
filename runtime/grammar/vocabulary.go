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
	size    int      // tokens, and so bits of a mask
	longest int32    // bytes of a token
	texts   [][]byte // by token; nil: no text
	ids     []int32
	bytes   [][]byte // of ids[i]
	common  []int32  // bytes that bytes[i] begins like bytes[i-1] with
	room    *Room

	mu     sync.Mutex
	shared map[place]*look // of rules that many grammars have
	closed bool            // none is kept any more
}

// place is a state of a rule that many grammars have.
type place struct {
	rule  string
	state int32
	span
}

// NewVocabulary makes one of tokens 0 to size-1. text gives nil for tokens that
// are not text. What is found out about it is kept in room.
func NewVocabulary(size int, text func(id int32) []byte, room *Room) *Vocabulary {
	v := &Vocabulary{size: size, texts: make([][]byte, size), room: room, shared: map[place]*look{}}
	type token struct {
		id    int32
		bytes []byte
	}
	var all []token
	for id := range int32(size) {
		if b := text(id); len(b) > 0 {
			all = append(all, token{id, b})
			v.texts[id] = b
			v.longest = max(v.longest, int32(len(b)))
		}
	}
	slices.SortFunc(all, func(a, b token) int {
		return cmp.Or(bytes.Compare(a.bytes, b.bytes), cmp.Compare(a.id, b.id))
	})
	v.ids, v.bytes, v.common = make([]int32, len(all)), make([][]byte, len(all)), make([]int32, len(all))
	var before []byte
	for i, t := range all {
		n := 0
		for n < min(len(t.bytes), len(before)) && t.bytes[n] == before[n] {
			n++
		}
		v.ids[i], v.bytes[i], v.common[i] = t.id, t.bytes, int32(n)
		before = t.bytes
	}
	return v
}

// Bytes is the memory that the vocabulary takes.
func (v *Vocabulary) Bytes() int {
	n := 24*v.size + 32*len(v.ids)
	for _, b := range v.bytes {
		n += len(b) + 8
	}
	return n
}

// Words is the length of a mask: bit id%64 of word id/64 is a token's.
func (v *Vocabulary) Words() int { return (v.size + 63) / 64 }

// Drop gives back the room of what has been found out. It is found out again if
// need be.
func (v *Vocabulary) Drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop()
}

// Close is Drop for good: from then on nothing is kept.
func (v *Vocabulary) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop()
	v.closed = true
}

func (v *Vocabulary) drop() {
	for _, l := range v.shared {
		v.room.Give(l.size())
	}
	clear(v.shared)
}
