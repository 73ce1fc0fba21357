// Package compare computes how far two models are apart: a base with an
// adapter, what they were merged into, what an adapter was extracted from.
package compare

import (
	"math"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// prompts is the number of random prompts that Logits computes.
const prompts = 4

// Side is a model, with an adapter or without.
type Side struct {
	Model   models.Model
	Adapter models.Adapter
}

// Logits computes a few random prompts, the same ones every time, on both
// sides and returns the largest difference of a logit, NaN where one is not
// finite, and the largest logit of a.
func Logits(pool *kernels.Pool, a, b Side) (difference, scale float64) {
	c := a.Model.Config()
	for i := range prompts {
		source := random.New(7, uint64(i))
		tokens := make([]int32, min(4+9*i, c.Context))
		for n := range tokens {
			tokens[n] = int32(source.Below(uint64(n), c.Vocabulary))
		}
		x, y := a.logits(pool, tokens), b.logits(pool, tokens)
		for n, v := range x {
			d := math.Abs(float64(v) - float64(y[n]))
			if d-d != 0 {
				return math.NaN(), math.NaN()
			}
			difference, scale = max(difference, d), max(scale, math.Abs(float64(v)))
		}
	}
	return difference, scale
}

// logits computes those of every position of one sequence.
func (s Side) logits(pool *kernels.Pool, tokens []int32) []float32 {
	blocks := make([]int32, len(tokens)/kernels.BlockLen+1)
	for i := range blocks {
		blocks[i] = int32(i)
	}
	var batch models.Batch
	batch.Add(tokens, 0, blocks, s.Adapter)
	p := models.NewPass(pool)
	h := s.Model.Forward(p, &batch, models.NewCache(s.Model.Config(), len(blocks)))
	logits := s.Model.Head(p, &batch, 0, h)
	return logits.Data.Data
}
