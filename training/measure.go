package training

import (
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Measure returns the peak of the memory of a step's passes over sequences of
// the given sizes, and the step's work, from the real forward and backward
// passes of m under method, of which nothing is computed. m may be a shape
// (models.NewShape). What method draws for a pass is left to the caller.
func Measure(m models.Model, method Method, recompute bool, sizes ...dataset.Size) (models.Live, models.FLOPs, error) {
	t := &Trainer{Model: m, Method: undrawn{method}, pass: models.NewMeasure()}
	t.Recompute(recompute)
	micro := make([]Sequence, len(sizes))
	for i, s := range sizes {
		micro[i] = sequenceOf(s)
	}
	_, err := t.Gradients([][]Sequence{micro})
	_, peak := t.pass.Live()
	return peak, t.pass.FLOPs(), err
}

// undrawn is a Method that draws nothing.
type undrawn struct{ Method }

// Parameters implements Method: there are no gradients to clear.
func (undrawn) Parameters() []*Parameter { return nil }

// sequenceOf is one of that size.
func sequenceOf(s dataset.Size) Sequence {
	q := Sequence{Tokens: make([]int32, s.Rows), Targets: make([]int32, s.Rows)}
	for i := range q.Targets {
		if i < s.Rows-s.Labels {
			q.Targets[i] = -1
		}
	}
	return q
}
