package models_test

import (
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSteadyDecodeAllocatesNothing holds the forward pass of a decoding step to
// the buffers of the one before.
func TestSteadyDecodeAllocatesNothing(t *testing.T) {
	for _, base := range modeltest.Bases(t) {
		for _, threads := range []int{1, 2} {
			m := modeltest.Open(t, base)
			p := models.NewPass(modeltest.Pool(t, threads))
			cache := models.NewCache(m.Config(), 2)
			b, position, blocks := new(models.Batch), 0, []int32{0, 1}
			step := func() {
				b.Reset()
				b.Add([]int32{int32(2 + position%50)}, position%40, blocks, nil)
				b.Out = append(b.Out, 0)
				h := m.Forward(p, b, cache)
				logits := m.Head(p, b, 0, h)
				p.Free(h, logits)
				position++
			}
			for range 45 {
				step()
			}
			if n := testing.AllocsPerRun(100, step); n != 0 {
				t.Errorf("%s, %d threads: %v allocations a step", base, threads, n)
			}
		}
	}
}
