package models_test

import (
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSteadyExpertsAllocateNothing: nor do several sequences, whose rows go to
// other experts in each step.
func TestSteadyExpertsAllocateNothing(t *testing.T) {
	m := modeltest.Open(t, "qwen3moe")
	p := models.NewPass(modeltest.Pool(t, 2))
	cache := models.NewCache(m.Config(), 12)
	b, position := new(models.Batch), 0
	blocks := [][]int32{{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}, {10, 11}}
	step := func() {
		b.Reset()
		for i, own := range blocks {
			b.Add([]int32{int32(2 + (7*i+position)%90)}, position%40, own, nil)
			b.Out = append(b.Out, int32(i))
		}
		h := m.Forward(p, b, cache)
		logits := m.Head(p, b, 0, h)
		p.Free(h, logits)
		position++
	}
	for range 3 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// TestChunkWithoutResult: a chunk of which no row is wanted computes none of the
// last block's experts.
func TestChunkWithoutResult(t *testing.T) {
	m := modeltest.Open(t, "qwen3moe")
	p := models.NewPass(modeltest.Pool(t, 1))
	var b models.Batch
	b.Add([]int32{5, 6, 7}, 0, []int32{0}, nil)
	b.Out = []int32{}
	h := m.Forward(p, &b, models.NewCache(m.Config(), 1))
	if h.Rows() != 0 || h.Data.Cols != m.Config().Hidden {
		t.Errorf("%d × %d", h.Rows(), h.Data.Cols)
	}
	p.Free(h)
}
