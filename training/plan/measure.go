package plan

import (
	"fmt"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Batch is the size of a micro-batch of sequences that are alike.
type Batch struct {
	Sequences int
	Length    int // tokens of a sequence
	Labels    int // positions of a sequence that predict; 0: all but the last
}

// lengths are those of the sequences as a trainer computes them: what follows
// the last position that predicts is not, but for a head or an embedding.
func (b Batch) lengths(o *training.Objective) []dataset.Size {
	l, n, head := dataset.Size{Rows: b.Length, Labels: min(b.Labels, b.Length)}, b.Sequences, o.Head
	switch {
	case o.Recipe != nil:
		n *= 2 // texts of a row
		l.Labels = len(pooling.Rows(o.Recipe.Modes, b.Length, 0))
	case head != nil && head.Task == models.Classify:
		l.Labels = 1
	case head != nil && b.Labels == 0:
		l.Labels = b.Length
	case b.Labels == 0:
		l = dataset.Size{Rows: max(b.Length-1, 1), Labels: max(b.Length-1, 1)}
	}
	all := make([]dataset.Size, n)
	for i := range all {
		all[i] = l
	}
	return all
}

// Measure runs a step over a batch, forward, through the loss and backward, on
// the base's shape: the memory of its passes when that is largest, and its
// work. It is false where nothing says what is learnt.
func (t *Trained) Measure(batch Batch) (live models.Live, flops models.FLOPs, ok bool) {
	o, ok := t.objective()
	if !ok {
		return live, flops, false
	}
	method := t.method()
	live, flops, err := training.Measure(t.base.model, method, o, t.Recompute, batch.lengths(&o)...)
	if err != nil {
		panic(fmt.Sprintf("plan: a batch of %+v: %v", batch, err)) // it has labels
	}
	if b, ok := method.(*training.Blocks); ok {
		b.Release() // the shape is the next one's too
	}
	return live, flops, true
}

// objective is what is learnt; false where nothing is said for it.
func (t *Trained) objective() (o training.Objective, ok bool) {
	m := t.base.model
	if t.recipe != nil {
		return training.Objective{Recipe: t.recipe}, m.Config().Architecture.Does(models.Encode)
	}
	if t.classes == nil {
		return o, m.Config().Architecture.Does(models.Generate)
	}
	head, err := m.Config().Head(t.classes.Task)
	return training.Objective{Head: head, Problem: t.classes.Problem, Classes: len(t.classes.Names)}, err == nil
}

// method is what trains, on the base's shape.
func (t *Trained) method() training.Method {
	if !t.Adapter {
		m := training.NewBlocks(t.base.model, t.outside, func(int) []int { return t.active })
		m.Begin(0)
		return m
	}
	a, err := adapters.New(t.base.model, t.config)
	if err != nil {
		panic("plan: " + err.Error()) // TrainAdapter has laid it out
	}
	return training.NewAdapted(t.base.model, a, t.training)
}
