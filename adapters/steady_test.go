package adapters_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSteadyDecodeAllocatesNothing is the test of that name in package models
// for a batch of one row of the base, one of every adapter and one of every
// golden combination.
func TestSteadyDecodeAllocatesNothing(t *testing.T) {
	for _, base := range []string{"llama-gqa", "gpt2"} {
		m := modeltest.Open(t, base)
		dirs, err := filepath.Glob(modeltest.Goldens(t, base, "adapters", "*"))
		if err != nil {
			t.Fatal(err)
		}
		all := []models.Adapter{nil}
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, "golden.safetensors")); err == nil {
				all = append(all, adaptertest.Load(t, m, dir))
			}
		}
		for _, c := range compositions(t) {
			if c.Base == base {
				all = append(all, compose(t, m, c.parts(t, m)...))
			}
		}
		if len(all) < 10 {
			t.Fatalf("%s: %d adapters", base, len(all))
		}
		for _, threads := range []int{1, 2} {
			p := models.NewPass(modeltest.Pool(t, threads))
			cache := models.NewCache(m.Config(), 2*len(all))
			b, position := new(models.Batch), 0
			blocks := make([][]int32, len(all))
			for i := range blocks {
				blocks[i] = []int32{int32(2 * i), int32(2*i + 1)}
			}
			step := func() {
				b.Reset()
				for i, a := range all {
					b.Add([]int32{int32(2 + position%50)}, position%40, blocks[i], a)
					b.Out = append(b.Out, int32(i))
				}
				h := m.Forward(p, b, cache)
				logits := m.Head(p, b, 0, h)
				p.Free(h, logits)
				position++
			}
			for range 45 {
				step()
			}
			if n := testing.AllocsPerRun(40, step); n != 0 {
				t.Errorf("%s, %d adapters, %d threads: %v allocations a step", base, len(all)-1, threads, n)
			}
		}
	}
}
