package models

import (
	"math/rand/v2"
	"testing"
)

// TestArena takes and gives at random: runs never overlap, and what was all
// given back is one run again.
func TestArena(t *testing.T) {
	var a arena
	type lent struct {
		buffer []float32
		slab   *slab
		at     int
		mark   float32
	}
	var out []lent
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 4000 {
		if len(out) > 0 && random.IntN(5) < 2 {
			k := len(out) - 1 - random.IntN(min(len(out), 4)) // nearly a stack
			l := out[k]
			for _, v := range l.buffer {
				if v != l.mark {
					t.Fatal("two runs overlap")
				}
			}
			l.slab.give(l.at, cap(l.buffer))
			out = append(out[:k], out[k+1:]...)
			continue
		}
		l := lent{mark: float32(i)}
		l.buffer, l.slab, l.at = a.take(1 + random.IntN(5000))
		for j := range l.buffer {
			l.buffer[j] = l.mark
		}
		out = append(out, l)
	}
	for _, l := range out {
		l.slab.give(l.at, cap(l.buffer))
	}
	for _, s := range a.slabs {
		if len(s.free) != 1 || s.free[0] != (run{0, len(s.data)}) {
			t.Errorf("the runs have not grown together: %v", s.free)
		}
	}
}
