package merge

import (
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/compare"
)

// tolerance is the largest difference of a logit, relative to the largest
// logit, that another order of float32 sums explains.
const tolerance = 1e-3

// verify opens what was written and compares it with base and adapter. Where
// nothing but the order of sums can differ, a difference is an error.
func (j *job) verify(path string) error {
	m, source, err := models.Open(path, j.Reading)
	if err != nil {
		return fmt.Errorf("reading the result again: %w", err)
	}
	defer func() { _ = source.Close() }()
	pool := j.Pool
	if pool == nil {
		pool = kernels.NewPool(0)
		defer pool.Close()
	}
	j.report.Difference, j.report.Scale = compare.Logits(pool, compare.Side{Model: j.model, Adapter: j.adapter}, compare.Side{Model: m})
	difference, scale := j.report.Difference, j.report.Scale
	if !(difference <= math.MaxFloat64) {
		return fmt.Errorf("%w: a logit is not finite", ErrDiffers)
	}
	if exact := !j.drift.narrow && j.format == nil; exact && difference > tolerance*max(scale, 1) {
		return fmt.Errorf("%w: a logit is off by %.3g (the largest is %.3g)", ErrDiffers, difference, scale)
	}
	return nil
}
