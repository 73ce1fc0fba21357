package training

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as
// torch.optim.AdamW computes it:
//
//	θ ← θ·(1 - η·λ)
//	m ← m + (g - m)·(1-β₁);  v ← β₂·v + (1-β₂)·g²
//	θ ← θ - η/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)
//
// t counts the steps of each parameter by itself.
type AdamW struct {
	Beta1, Beta2, Epsilon float64

	kept  map[*Parameter]*moments
	spare spare
}

type moments struct {
	step int
	m, v []float32
}

// Step implements Optimizer.
func (o *AdamW) Step(pool *kernels.Pool, params []*Parameter, scale float64, rates, decays []float64) {
	if o.kept == nil {
		o.kept = map[*Parameter]*moments{}
	}
	states := make([]*moments, len(params))
	for i, p := range params {
		s := o.kept[p]
		if s == nil {
			s = &moments{m: o.spare.take(len(p.Grad)), v: o.spare.take(len(p.Grad))}
			o.kept[p] = s
		}
		s.step++
		states[i] = s
	}
	o.spare.drop()
	all := stripes(params)
	pool.Run(len(all), part(func(i int) {
		st := all[i]
		p, s := params[st.param], states[st.param]
		o.update(float32(scale), rates[st.param], decays[st.param], s.step).
			Update(p.Value[st.from:st.to], p.Grad[st.from:st.to], s.m[st.from:st.to], s.v[st.from:st.to])
	}))
}

// update is the constants of step number step of a parameter.
func (o *AdamW) update(scale float32, rate, decay float64, step int) kernels.AdamW {
	return kernels.AdamW{
		Scale: scale, Shrink: float32(1 - rate*decay), Size: float32(rate / (1 - math.Pow(o.Beta1, float64(step)))),
		Root:  float32(math.Sqrt(1 - math.Pow(o.Beta2, float64(step)))),
		Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: float32(o.Epsilon),
	}
}

// Forget implements Optimizer.
func (o *AdamW) Forget(p *Parameter) {
	if s := o.kept[p]; s != nil {
		o.spare.give(s.m, s.v)
		delete(o.kept, p)
	}
}

// Bytes implements Optimizer.
func (o *AdamW) Bytes() int {
	n := 0
	for _, s := range o.kept {
		n += 4 * (len(s.m) + len(s.v))
	}
	return n
}

// Values implements Optimizer: two moments.
func (o *AdamW) Values(p *Parameter) int { return 2 * p.Len() }

// State implements Optimizer.
func (o *AdamW) State(p *Parameter) *State {
	s := o.kept[p]
	if s == nil {
		return nil
	}
	return &State{Step: s.step, Moments: [][]float32{s.m, s.v}}
}

// SetState implements Optimizer.
func (o *AdamW) SetState(p *Parameter, s State) error {
	if err := s.check(len(p.Value), len(p.Value)); err != nil {
		return err
	}
	if o.kept == nil {
		o.kept = map[*Parameter]*moments{}
	}
	o.kept[p] = &moments{step: s.Step, m: s.Moments[0], v: s.Moments[1]}
	return nil
}
