package tokenizer

// Two ways to join pairs with the same result: a scan, quadratic but quick for
// a word, and a heap for the long texts that come without spaces.

const fewSymbols = 32

// mergeFew joins pairs of ids in place and returns what is left. ranks is
// scratch space.
func mergeFew(joins map[pair]join, ids []int32, ranks *[fewSymbols]join) []int32 {
	const never = int32(^uint32(0) >> 1)
	look := func(i int) join {
		if i+1 < len(ids) {
			if j, ok := joins[pairOf(ids[i], ids[i+1])]; ok {
				return j
			}
		}
		return join{never, none}
	}
	for i := range ids {
		ranks[i] = look(i)
	}
	for len(ids) > 1 {
		best := 0
		for i := 1; i < len(ids)-1; i++ {
			if ranks[i].rank < ranks[best].rank {
				best = i
			}
		}
		if ranks[best].rank == never {
			break
		}
		ids[best] = ranks[best].id
		copy(ids[best+1:], ids[best+2:])
		copy(ranks[best+1:len(ids)-1], ranks[best+2:len(ids)])
		ids = ids[:len(ids)-1]
		ranks[best] = look(best)
		if best > 0 {
			ranks[best-1] = look(best - 1)
		}
	}
	return ids
}

// scratch is the working memory of one encoding.
type scratch struct {
	ids     []int32
	few     [fewSymbols]join
	symbols []symbol
	heap    []candidate
	lattice []node
}

// A symbol is an id in a linked list; one that was joined to its left has id
// none.
type symbol struct{ id, prev, next int32 }

// A candidate is a pair that may be joined, if both ids are still in place.
type candidate struct {
	join
	at          int32
	left, right int32
}

func (a candidate) before(b candidate) bool {
	return a.rank < b.rank || a.rank == b.rank && a.at < b.at
}

// mergeMany joins pairs of s.ids and appends what is left to dst.
func (s *scratch) mergeMany(dst []int32, joins map[pair]join) []int32 {
	s.symbols = s.symbols[:0]
	s.heap = s.heap[:0]
	for i, id := range s.ids {
		s.symbols = append(s.symbols, symbol{id, int32(i) - 1, int32(i) + 1})
	}
	s.symbols[len(s.symbols)-1].next = none
	for i := range len(s.symbols) - 1 {
		s.offer(joins, int32(i))
	}
	for len(s.heap) > 0 {
		c := s.pop()
		left := &s.symbols[c.at]
		if left.id != c.left || left.next == none || s.symbols[left.next].id != c.right {
			continue
		}
		right := &s.symbols[left.next]
		left.id, left.next = c.id, right.next
		right.id = none
		if left.next != none {
			s.symbols[left.next].prev = c.at
			s.offer(joins, c.at)
		}
		if left.prev != none {
			s.offer(joins, left.prev)
		}
	}
	for i := int32(0); i != none; i = s.symbols[i].next {
		dst = append(dst, s.symbols[i].id)
	}
	return dst
}

// offer pushes the pair that starts at symbol i if it can be joined.
func (s *scratch) offer(joins map[pair]join, i int32) {
	left := s.symbols[i]
	right := s.symbols[left.next].id
	j, ok := joins[pairOf(left.id, right)]
	if !ok {
		return
	}
	s.heap = append(s.heap, candidate{j, i, left.id, right})
	for k := len(s.heap) - 1; k > 0; {
		parent := (k - 1) / 2
		if !s.heap[k].before(s.heap[parent]) {
			break
		}
		s.heap[k], s.heap[parent] = s.heap[parent], s.heap[k]
		k = parent
	}
}

func (s *scratch) pop() candidate {
	top := s.heap[0]
	last := len(s.heap) - 1
	s.heap[0] = s.heap[last]
	s.heap = s.heap[:last]
	for k := 0; ; {
		child := 2*k + 1
		if child >= last {
			break
		}
		if child+1 < last && s.heap[child+1].before(s.heap[child]) {
			child++
		}
		if !s.heap[child].before(s.heap[k]) {
			break
		}
		s.heap[k], s.heap[child] = s.heap[child], s.heap[k]
		k = child
	}
	return top
}
