package models

import "slices"

// arena is the memory of a recording pass, in which thousands of Values live
// and die in an order that is nearly that of a stack: a few large slabs, each
// with a list of free runs that grow together again. Batches of any number of
// rows use the same memory, so that what a process holds is little more than
// what is live at the peak.
type arena struct{ slabs []*slab }

// slab is one allocation. Runs are in multiples of runAlign values.
type slab struct {
	data []float32
	free []run // by place
}

// run is the values [from, to) of a slab.
type run struct{ from, to int }

const (
	runAlign = 16      // values: 64 bytes
	slabLen  = 4 << 20 // values: 16 MiB
)

// take returns n values from the smallest run that holds them, with their
// place.
func (a *arena) take(n int) (buffer []float32, of *slab, from int) {
	size := max(n+runAlign-1, runAlign) &^ (runAlign - 1)
	var best *slab
	at, least := 0, 0
	for _, s := range a.slabs {
		for i, r := range s.free {
			if have := r.to - r.from; have >= size && (best == nil || have < least) {
				best, at, least = s, i, have
			}
		}
	}
	if best == nil {
		best, at = &slab{data: make([]float32, max(size, slabLen))}, 0
		best.free = []run{{0, len(best.data)}}
		a.slabs = append(a.slabs, best)
	}
	r := &best.free[at]
	from = r.from
	if r.from += size; r.from == r.to {
		best.free = slices.Delete(best.free, at, at+1)
	}
	return best.data[from : from+n : from+size], best, from
}

// give takes values back that take has lent.
func (s *slab) give(from, size int) {
	at, _ := slices.BinarySearchFunc(s.free, from, func(r run, from int) int { return r.from - from })
	before := at > 0 && s.free[at-1].to == from
	behind := at < len(s.free) && s.free[at].from == from+size
	switch {
	case before && behind:
		s.free[at-1].to = s.free[at].to
		s.free = slices.Delete(s.free, at, at+1)
	case before:
		s.free[at-1].to += size
	case behind:
		s.free[at].from = from
	default:
		s.free = slices.Insert(s.free, at, run{from, from + size})
	}
}
