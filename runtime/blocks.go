package runtime

// blocks hands out the numbers of the key-value cache's blocks and counts
// their references. A block that nobody references keeps its contents, and its
// key in the prefix cache, until it is handed out again: first those without a
// key, then the least recently used.
type blocks struct {
	refs  []int32
	chain []link // by block; the block's key, if it has one
	index map[digest]int32

	// The unreferenced blocks, a ring through the sentinel len(refs): next of
	// it is the first to be handed out.
	next, prev []int32
	free       int
	keyed      int // of the free ones
}

type link struct {
	key   digest
	keyed bool
}

func newBlocks(n int) *blocks {
	b := &blocks{
		refs: make([]int32, n), chain: make([]link, n), index: make(map[digest]int32, n),
		next: make([]int32, n+1), prev: make([]int32, n+1),
	}
	b.next[n], b.prev[n] = int32(n), int32(n)
	for i := range n {
		b.insert(int32(i), b.prev[n])
	}
	return b
}

// insert puts a free block behind another one in the ring.
func (b *blocks) insert(block, behind int32) {
	after := b.next[behind]
	b.next[behind], b.prev[block] = block, behind
	b.next[block], b.prev[after] = after, block
	b.free++
	if b.chain[block].keyed {
		b.keyed++
	}
}

func (b *blocks) unlink(block int32) {
	b.next[b.prev[block]], b.prev[b.next[block]] = b.next[block], b.prev[block]
	b.free--
	if b.chain[block].keyed {
		b.keyed--
	}
}

// take hands out a free block with one reference; there must be one.
func (b *blocks) take() int32 {
	sentinel := int32(len(b.refs))
	block := b.next[sentinel]
	if block == sentinel {
		panic("runtime: no free block")
	}
	b.unlink(block)
	b.refs[block] = 1
	if l := &b.chain[block]; l.keyed {
		delete(b.index, l.key)
		*l = link{}
	}
	return block
}

// keep adds a reference to a block found in the prefix cache.
func (b *blocks) keep(block int32) {
	if b.refs[block] == 0 {
		b.unlink(block)
	}
	b.refs[block]++
}

// drop ends one reference to each of the blocks of a sequence. The last ones
// are handed out anew before the first, which more prompts share.
func (b *blocks) drop(held []int32) {
	sentinel := int32(len(b.refs))
	for i := len(held) - 1; i >= 0; i-- {
		block := held[i]
		b.refs[block]--
		switch {
		case b.refs[block] > 0:
		case b.refs[block] < 0:
			panic("runtime: a block is dropped twice")
		case b.chain[block].keyed:
			b.insert(block, b.prev[sentinel])
		default:
			b.insert(block, sentinel)
		}
	}
}

// label makes a full block findable under its key, unless another block is.
func (b *blocks) label(block int32, key digest) {
	if _, ok := b.index[key]; ok {
		return
	}
	b.index[key] = block
	b.chain[block] = link{key, true}
}

// used is the number of referenced blocks.
func (b *blocks) used() int { return len(b.refs) - b.free }
