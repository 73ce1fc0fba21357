package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// A wordCache remembers the ids of words already merged. It is a table of
// atomic pointers in which a new word takes the slot of an older one: no lock,
// no bookkeeping and a fixed bound on what it holds.
type wordCache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word string
	ids  []int32
}

const (
	cacheSlots = 1 << 15
	maxCached  = 48 // bytes; longer words are rare and rarely repeat
)

func newWordCache() *wordCache {
	return &wordCache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cachedWord], cacheSlots)}
}

func (c *wordCache) slot(word string) *atomic.Pointer[cachedWord] {
	return &c.slots[maphash.String(c.seed, word)%cacheSlots]
}

// store keeps a copy of word and ids in slot, which slot(word) returned.
func (c *wordCache) store(slot *atomic.Pointer[cachedWord], word string, ids []int32) {
	slot.Store(&cachedWord{word: strings.Clone(word), ids: append([]int32(nil), ids...)})
}
