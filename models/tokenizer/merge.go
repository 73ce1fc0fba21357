package tokenizer

import "slices"

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

// A symbol is an id in a linked list; one that was joined to its left has id
// none.
type symbol struct{ id, prev, next int32 }

// A candidate is a pair that may be joined, if it is still in place: the one
// that begins at symbol at, with that rank.
type candidate struct{ rank, at int32 }

func (a candidate) before(b candidate) bool {
	return a.rank < b.rank || a.rank == b.rank && a.at < b.at
}

// mergeMany joins pairs of s.symbols, which hold ids alone, and appends what is
// left to dst.
func (s *scratch) mergeMany(dst []int32, joins map[pair]join) []int32 {
	last := int32(len(s.symbols)) - 1
	for i := range s.symbols {
		s.symbols[i].prev, s.symbols[i].next = int32(i)-1, int32(i)+1
	}
	s.symbols[last].next = none
	s.heap = slices.Grow(s.heap[:0], len(s.symbols))
	for i := int32(0); i < last && s.tick(); i++ {
		if j, ok := s.joinAt(joins, i); ok {
			s.heap = append(s.heap, candidate{j.rank, i})
		}
	}
	for k := len(s.heap)/2 - 1; k >= 0; k-- {
		s.sink(k)
	}
	for len(s.heap) > 0 && s.tick() {
		c := s.pop()
		j, ok := s.joinAt(joins, c.at)
		if !ok || j.rank != c.rank {
			continue
		}
		left := &s.symbols[c.at]
		right := &s.symbols[left.next]
		left.id, left.next = j.id, right.next
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

// joinAt is what symbol i and the next one can become.
func (s *scratch) joinAt(joins map[pair]join, i int32) (j join, ok bool) {
	left := s.symbols[i]
	if left.id == none || left.next == none {
		return j, false
	}
	j, ok = joins[pairOf(left.id, s.symbols[left.next].id)]
	return j, ok
}

// offer pushes the pair that starts at symbol i if it can be joined.
func (s *scratch) offer(joins map[pair]join, i int32) {
	j, ok := s.joinAt(joins, i)
	if !ok {
		return
	}
	s.heap = append(s.heap, candidate{j.rank, i})
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
	s.sink(0)
	return top
}

// sink puts the candidate at k behind those that come before it.
func (s *scratch) sink(k int) {
	for {
		child := 2*k + 1
		if child >= len(s.heap) {
			break
		}
		if child+1 < len(s.heap) && s.heap[child+1].before(s.heap[child]) {
			child++
		}
		if !s.heap[child].before(s.heap[k]) {
			break
		}
		s.heap[k], s.heap[child] = s.heap[child], s.heap[k]
		k = child
	}
}
