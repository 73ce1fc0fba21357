package tokenizer

import (
	"container/heap"
	"maps"
	"slices"
)

// A learner is the state of a training. It follows tokenizers'
// models/bpe/trainer.rs, where it counts oddly too: so are the merges the same.
type learner struct {
	pieces []string         // by id, in the byte alphabet
	ids    map[string]int32 // of pieces
	merges []pair

	words  [][]int32 // as the merges so far leave them
	counts []int     // of words
	pairs  map[pair]int
	queue  mergings
}

// A merging is a pair that waits to be merged in the words that have it.
type merging struct {
	pair  pair
	count int // when it was put there: it may have fallen
	words []int32
}

// mergings is a heap: the most frequent pair first, of equals that of the lower
// ids.
type mergings []merging

func (h mergings) Len() int      { return len(h) }
func (h mergings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h mergings) Less(i, j int) bool {
	return h[i].count > h[j].count || h[i].count == h[j].count && h[i].pair < h[j].pair
}
func (h *mergings) Push(x any) { *h = append(*h, x.(merging)) }
func (h *mergings) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = merging{}
	*h = (*h)[:last]
	return x
}

// newLearner begins with the special tokens and the bytes as pieces.
func newLearner(t *Trainer) *learner {
	l := &learner{ids: map[string]int32{}, pairs: map[pair]int{}}
	for _, token := range t.Special {
		l.piece(token)
	}
	for _, r := range slices.Sorted(slices.Values(byteToRune[:])) {
		l.piece(string(r))
	}
	var bytes [256]int32
	for b, r := range byteToRune {
		bytes[b] = l.ids[string(r)]
	}
	where := map[pair][]int32{}
	for w, word := range slices.Sorted(maps.Keys(t.words)) {
		symbols := make([]int32, len(word))
		for i := range symbols {
			symbols[i] = bytes[word[i]]
		}
		l.words, l.counts = append(l.words, symbols), append(l.counts, t.words[word])
		for i := range len(symbols) - 1 {
			l.change(where, pairOf(symbols[i], symbols[i+1]), 1, int32(w))
		}
	}
	l.offer(where)
	return l
}

// piece returns the id of a piece, a new one if it is not there.
func (l *learner) piece(name string) int32 {
	id, ok := l.ids[name]
	if !ok {
		id = int32(len(l.pieces))
		l.pieces, l.ids[name] = append(l.pieces, name), id
	}
	return id
}

// change counts one more, or one less, of a pair in a word.
func (l *learner) change(where map[pair][]int32, p pair, by int, word int32) {
	l.pairs[p] += by * l.counts[word]
	if words := where[p]; by > 0 && (len(words) == 0 || words[len(words)-1] != word) {
		where[p] = append(words, word)
	}
}

// offer queues the pairs that have come up, each with its words.
func (l *learner) offer(where map[pair][]int32) {
	for p, words := range where {
		if count := l.pairs[p]; count > 0 {
			heap.Push(&l.queue, merging{p, count, words})
		}
	}
}

// merge merges the most frequent pair; false: there is none.
func (l *learner) merge() bool {
	for len(l.queue) > 0 {
		top := heap.Pop(&l.queue).(merging)
		if now := l.pairs[top.pair]; now != top.count {
			top.count = now
			heap.Push(&l.queue, top)
			continue
		}
		if top.count < 1 {
			return false
		}
		left, right := int32(top.pair>>32), int32(uint32(top.pair))
		joined := l.piece(l.pieces[left] + l.pieces[right])
		l.merges = append(l.merges, top.pair)
		where := map[pair][]int32{}
		for _, w := range top.words {
			l.words[w] = l.join(where, w, left, right, joined)
		}
		l.offer(where)
		return true
	}
	return false
}

// join merges a pair in one word and counts what that changes beside it.
func (l *learner) join(where map[pair][]int32, w, left, right, joined int32) []int32 {
	word := l.words[w]
	kept := word[:0]
	for i := 0; i < len(word); i++ {
		if i+1 == len(word) || word[i] != left || word[i+1] != right {
			kept = append(kept, word[i])
			continue
		}
		if n := len(kept); n > 0 {
			l.change(where, pairOf(kept[n-1], left), -1, w)
			l.change(where, pairOf(kept[n-1], joined), 1, w)
		}
		if i++; i+1 < len(word) {
			l.change(where, pairOf(right, word[i+1]), -1, w)
			l.change(where, pairOf(joined, word[i+1]), 1, w)
		}
		kept = append(kept, joined)
	}
	return kept
}

// spelled lists the merges; one that was learnt twice has the later rank.
func (l *learner) spelled() [][2]string {
	last := map[pair]int{}
	for rank, p := range l.merges {
		last[p] = rank
	}
	var merges [][2]string
	for rank, p := range l.merges {
		if last[p] == rank {
			merges = append(merges, [2]string{l.pieces[p>>32], l.pieces[uint32(p)]})
		}
	}
	return merges
}
