package training

import (
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Account is memory by category, in bytes, as the lecture counts it.
type Account struct {
	Model       int `json:"model"`
	Gradients   int `json:"gradients"`
	Optimizer   int `json:"optimizer"`
	Activations int `json:"activations"`
}

// Total is the sum of the categories.
func (a Account) Total() int { return a.Model + a.Gradients + a.Optimizer + a.Activations }

// Account measures the memory in use. Activations are the peak so far.
func (t *Trainer) Account() Account {
	_, peak := t.pass.Live()
	a := Account{Model: t.Model.Config().WeightBytes, Optimizer: t.Optimizer.Bytes(), Activations: peak.Total()}
	for _, p := range t.Method.Parameters() {
		a.Gradients += 4 * len(p.Grad)
	}
	switch m := t.Method.(type) {
	case *Blocks:
		a.Model += m.base.widened()
	case *Adapted:
		a.Model += m.bytes()
	}
	return a
}

// Measure returns the peak of the memory of a step's passes over sequences of
// the given sizes, and the step's work, from the real forward and backward
// passes of m under method, of which nothing is computed. m may be a shape
// (models.NewShape). What method draws for a pass is left to the caller.
func Measure(m models.Model, method Method, o Objective, recompute bool, sizes ...dataset.Size) (models.Live, models.FLOPs, error) {
	t := &Trainer{Model: m, Method: undrawn{method}, Objective: o, pass: models.NewMeasure()}
	t.Recompute(recompute)
	micro := make([]Sequence, len(sizes))
	for i, s := range sizes {
		micro[i] = sequenceOf(s)
		micro[i].Whole = o.Head != nil || o.Recipe != nil
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
