package training

import (
	"fmt"
	"math"
)

// Batches are counted as transformers' Trainer counts them: an epoch is gone
// through in steps of --batch-size × --grad-accum sequences (packed: windows of
// them), and its last step takes what is left of it, in fewer or shorter
// micro-batches. No batch reaches into the next epoch. The loss of a step is
// the mean over its labels, so the fewer sequences of a short one weigh no
// less.

// epochSteps is the number of steps that go through the data once.
func (r *Run) epochSteps() int {
	per := r.BatchSize * r.GradAccum
	return (r.train.Len() + per - 1) / per
}

// stepsOf is the number of steps of a number of epochs.
func (r *Run) stepsOf(epochs float64) (int, error) {
	steps := math.Ceil(epochs * float64(r.epochSteps()))
	if steps > math.MaxInt32 {
		return 0, fmt.Errorf("--epochs: %g come to %g steps, want no more than %d", epochs, steps, math.MaxInt32)
	}
	return max(1, int(steps)), nil
}

// seen is the number of sequences that steps have gone through.
func (r *Run) seen(steps int) int {
	epoch, step := steps/r.epochSteps(), steps%r.epochSteps()
	return epoch*r.train.Len() + step*r.BatchSize*r.GradAccum
}

// epoch is how often the run has gone through the data.
func (r *Run) epoch() float64 { return float64(r.seen(r.at.Step)) / float64(r.train.Len()) }

// span is the sequences of a micro-batch, as numbers of the run.
type span struct{ from, to int }

// spans are the micro-batches of a step.
func (r *Run) spans(step int) []span {
	var all []span
	for from, end := r.seen(step), r.seen(step+1); from < end; from += r.BatchSize {
		all = append(all, span{from, min(from+r.BatchSize, end)})
	}
	return all
}

// batch is the micro-batches of a step.
func (r *Run) batch(step int) ([][]Sequence, error) {
	var micro [][]Sequence
	for _, s := range r.spans(step) {
		var batch []Sequence
		for n := s.from; n < s.to; n++ {
			sequences, err := r.order.At(n)
			if err != nil {
				return nil, err
			}
			batch = append(batch, sequences...)
		}
		micro = append(micro, batch)
	}
	return micro, nil
}
