package training

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
)

// Optimizer turns gradients into changes of the parameters.
type Optimizer interface {
	// Step changes each parameter by its gradient times scale. rates and
	// decays are by parameter.
	Step(pool *kernels.Pool, params []*Parameter, scale float64, rates, decays []float64)
	// Forget drops what is kept of a parameter; its memory is the next one's.
	Forget(p *Parameter)
	// Bytes is the memory that is kept.
	Bytes() int
	// Values is the number of float32 values that will be kept of a parameter.
	Values(p *Parameter) int
	// State returns what is kept of a parameter, for a checkpoint; nil where
	// nothing is.
	State(p *Parameter) *State
	// SetState takes it over; a state that is none of the parameter's is an error.
	SetState(p *Parameter, s State) error
}

// State is what an optimizer keeps of one parameter.
type State struct {
	Step    int
	Moments [][]float32
}

// check holds a state from a file against the number of values of each moment.
func (s State) check(sizes ...int) error {
	if s.Step < 0 || len(s.Moments) != len(sizes) {
		return fmt.Errorf("%d moments after step %d, want %d", len(s.Moments), s.Step, len(sizes))
	}
	for i, n := range sizes {
		if len(s.Moments[i]) != n {
			return fmt.Errorf("moment %d has %d values, want %d", i, len(s.Moments[i]), n)
		}
	}
	return nil
}

// Optimizers lists the names that NewOptimizer knows.
var Optimizers = []string{"adamw", "sgd"}

// NewOptimizer makes an optimizer by name.
func NewOptimizer(name string, beta1, beta2, epsilon, momentum float64) (Optimizer, error) {
	switch name {
	case "adamw":
		return &AdamW{Beta1: beta1, Beta2: beta2, Epsilon: epsilon}, nil
	case "sgd":
		return &SGD{Momentum: momentum}, nil
	}
	return nil, fmt.Errorf("optimizer %q is not known (%v)", name, Optimizers)
}

// stripe is a run of one parameter's values; stripes are cut at fixed places,
// so that the threads never show in a result.
type stripe struct{ param, from, to int }

const stripeLen = 1 << 16

func stripes(params []*Parameter) []stripe {
	var all []stripe
	for i, p := range params {
		for from := 0; from < len(p.Grad); from += stripeLen {
			all = append(all, stripe{i, from, min(from+stripeLen, len(p.Grad))})
		}
	}
	return all
}

// part runs a function as a kernels.Task.
type part func(i int)

func (f part) Part(_ *kernels.Worker, i int) { f(i) }
