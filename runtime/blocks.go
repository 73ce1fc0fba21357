package runtime

// blocks hands out the blocks of the key-value cache and counts their
// references. A block is kernels.BlockLen positions of a sequence in all layers,
// and has a page of memory in each. Blocks that hold the same keys and values in
// their lower layers, because no adapter acts there, may have their pages there
// in common.
//
// A block that nobody references keeps its contents while it has a key in the
// prefix cache, until its pages are needed: the least recently used goes first.
type blocks struct {
	layers int
	refs   []int32
	marks  []mark           // by block
	index  map[digest]int32 // blocks by key
	lower  map[digest]int32 // blocks by the key of their lower layers
	pages  [][]int32        // by layer and block: kernels.KV.Pages

	holders, users []int32 // by page: the blocks that have it, and those of them that are referenced
	empty          []int32 // pages that no block has
	unused         int     // pages without users

	vacant []int32 // blocks without pages

	// The unreferenced blocks with a key, a ring through the sentinel len(refs):
	// next of it is the first to give its pages up.
	next, prev []int32
	keyed      int
}

// mark is under which keys a block is found: that of its contents and, where the
// lowest shared layers of it are the base's, the base's key of those.
type mark struct {
	key, low digest
	found    bool // under key
	below    bool // under low
	shared   int
}

// nobody is no block.
const nobody int32 = -1

// newBlocks has the pages of n blocks of so many layers. There may be more
// blocks than that, which share pages.
func newBlocks(n, layers int) *blocks {
	ids, pages := 2*n, n*layers
	b := &blocks{
		layers: layers, refs: make([]int32, ids), marks: make([]mark, ids),
		index: make(map[digest]int32, n), lower: make(map[digest]int32),
		holders: make([]int32, pages), users: make([]int32, pages), empty: make([]int32, 0, pages), unused: pages,
		vacant: make([]int32, 0, ids), next: make([]int32, ids+1), prev: make([]int32, ids+1),
	}
	b.next[ids], b.prev[ids] = int32(ids), int32(ids)
	for i := ids - 1; i >= 0; i-- {
		b.vacant = append(b.vacant, int32(i))
	}
	for i := pages - 1; i >= 0; i-- {
		b.empty = append(b.empty, int32(i))
	}
	for range layers {
		b.pages = append(b.pages, make([]int32, ids))
	}
	return b
}

// free is the number of blocks that could be taken, sharing nothing.
func (b *blocks) free() int { return min(b.unused/b.layers, len(b.vacant)+b.keyed) }

// used is the memory of the referenced blocks, in blocks.
func (b *blocks) used() int { return (len(b.users) - b.unused + b.layers - 1) / b.layers }

// cost is the number of pages that a block takes of the unused ones at most, which
// has shared pages in common with donor.
func (b *blocks) cost(donor int32, shared int) int {
	if shared > 0 && b.refs[donor] > 0 {
		return b.layers - shared
	}
	return b.layers
}

// room reports whether so many blocks can be taken, of so many unused pages.
func (b *blocks) room(n, pages int) bool { return n <= len(b.vacant)+b.keyed && pages <= b.unused }

// take hands out a block with one reference, which has its pages of the lowest
// shared layers in common with donor; of none, and where there is no room beside
// the donor, it has them all for itself. It is false where there is no room.
func (b *blocks) take(donor int32, shared int) (block int32, ok bool) {
	if shared > 0 {
		b.keep(donor) // lest it is what gives way
		if b.room(1, b.layers-shared) {
			defer b.release(donor)
		} else { // there is no room beside it: it does
			b.release(donor)
			shared = 0
		}
	}
	need := b.layers - shared
	if !b.room(1, need) {
		return nobody, false
	}
	for len(b.empty) < need || len(b.vacant) == 0 {
		b.evict(b.next[len(b.refs)])
	}
	block = b.vacant[len(b.vacant)-1]
	b.vacant = b.vacant[:len(b.vacant)-1]
	b.refs[block] = 1
	for layer, of := range b.pages {
		var page int32
		if layer < shared {
			page = of[donor]
		} else {
			page = b.empty[len(b.empty)-1]
			b.empty = b.empty[:len(b.empty)-1]
		}
		of[block] = page
		b.holders[page]++
		b.use(page, 1)
	}
	return block, true
}

// use counts a referenced block that has the page, or no longer.
func (b *blocks) use(page, by int32) {
	if b.users[page] == 0 {
		b.unused--
	}
	if b.users[page] += by; b.users[page] == 0 {
		b.unused++
	}
}

// evict takes the pages of an unreferenced block, and its keys.
func (b *blocks) evict(block int32) {
	b.unlink(block)
	m := &b.marks[block]
	delete(b.index, m.key)
	if m.below {
		delete(b.lower, m.low)
	}
	*m = mark{}
	b.vacate(block)
}

// vacate gives the pages of a block up.
func (b *blocks) vacate(block int32) {
	for layer := len(b.pages) - 1; layer >= 0; layer-- {
		page := b.pages[layer][block]
		if b.holders[page]--; b.holders[page] == 0 {
			b.empty = append(b.empty, page)
		}
	}
	b.vacant = append(b.vacant, block)
}

// insert puts an unreferenced block at the end of the ring.
func (b *blocks) insert(block int32) {
	sentinel := int32(len(b.refs))
	last := b.prev[sentinel]
	b.next[last], b.prev[block] = block, last
	b.next[block], b.prev[sentinel] = sentinel, block
	b.keyed++
}

func (b *blocks) unlink(block int32) {
	b.next[b.prev[block]], b.prev[b.next[block]] = b.next[block], b.prev[block]
	b.keyed--
}

// keep adds a reference to a block found in the prefix cache.
func (b *blocks) keep(block int32) {
	if b.refs[block]++; b.refs[block] > 1 {
		return
	}
	b.unlink(block)
	for _, of := range b.pages {
		b.use(of[block], 1)
	}
}

// drop ends one reference to each of the blocks that a sequence has. The last ones
// give way before the first, which more prompts share.
func (b *blocks) drop(held []int32) {
	for i := len(held) - 1; i >= 0; i-- {
		if held[i] != nobody {
			b.release(held[i])
		}
	}
}

func (b *blocks) release(block int32) {
	if b.refs[block]--; b.refs[block] > 0 {
		return
	}
	if b.refs[block] < 0 {
		panic("runtime: a block is dropped twice")
	}
	for _, of := range b.pages {
		b.use(of[block], -1)
	}
	if b.marks[block].found {
		b.insert(block)
	} else {
		b.vacate(block)
	}
}

// label makes a full block findable under its key, unless another block is, and
// under the base's key of its lowest layers, if any are the base's.
func (b *blocks) label(block int32, key, low digest, shared int) {
	if _, ok := b.index[key]; ok {
		return
	}
	b.index[key] = block
	m := mark{key: key, found: true, shared: shared}
	if _, ok := b.lower[low]; !ok && shared > 0 && low != key {
		b.lower[low] = block
		m.low, m.below = low, true
	}
	b.marks[block] = m
}

// donor finds a block whose lowest layers are what the base makes of the tokens
// of that key, and how many of them.
func (b *blocks) donor(low digest) (block int32, shared int) {
	if block, ok := b.index[low]; ok {
		return block, b.layers
	}
	if block, ok := b.lower[low]; ok {
		return block, b.marks[block].shared
	}
	return nobody, 0
}
