package merge

import (
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// prompts is the number of random prompts that Compare computes.
const prompts = 4

// tolerance is the largest difference of a logit, relative to the largest
// logit, that another order of float32 sums explains.
const tolerance = 1e-3

// verify opens what was written and compares it with base and adapter. Where
// nothing but the order of sums can differ, a difference is an error.
func (j *job) verify(path string) error {
	m, source, err := models.Open(path, models.Options{})
	if err != nil {
		return fmt.Errorf("reading the result again: %w", err)
	}
	defer source.Close()
	pool := j.Pool
	if pool == nil {
		pool = kernels.NewPool(0)
		defer pool.Close()
	}
	j.report.Difference, j.report.Scale = Compare(pool, Side{j.model, j.adapter}, Side{m, nil})
	difference, scale := j.report.Difference, j.report.Scale
	if !(difference <= math.MaxFloat64) {
		return fmt.Errorf("%w: a logit is not finite", ErrDiffers)
	}
	if exact := !j.drift.narrow && j.format == nil; exact && difference > tolerance*max(scale, 1) {
		return fmt.Errorf("%w: a logit is off by %.3g (the largest is %.3g)", ErrDiffers, difference, scale)
	}
	return nil
}

// Side is a model, with an adapter or without.
type Side struct {
	Model   models.Model
	Adapter models.Adapter
}

// Compare computes a few random prompts, the same ones every time, on both
// sides and returns the largest difference of a logit, NaN where one is not
// finite, and the largest logit.
func Compare(pool *kernels.Pool, a, b Side) (difference, scale float64) {
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
