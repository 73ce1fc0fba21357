package training

import "github.com/peft-serve/peft-serve/kernels"

// SGD is stochastic gradient descent with momentum, as torch.optim.SGD
// computes it: g ← g + λ·θ; b ← μ·b + g; θ ← θ - η·b. Without momentum it keeps
// nothing.
type SGD struct {
	Momentum float64

	kept  map[*Parameter]*State
	spare spare
}

// Step implements Optimizer.
func (o *SGD) Step(pool *kernels.Pool, params []*Parameter, scale float64, rates, decays []float64) {
	velocity := make([][]float32, len(params))
	if o.Momentum != 0 {
		if o.kept == nil {
			o.kept = map[*Parameter]*State{}
		}
		for i, p := range params {
			s := o.kept[p]
			if s == nil {
				s = &State{Moments: [][]float32{o.spare.take(len(p.Grad))}}
				o.kept[p] = s
			}
			s.Step++
			velocity[i] = s.Moments[0]
		}
		o.spare.drop()
	}
	all := stripes(params)
	pool.Run(len(all), part(func(i int) {
		st := all[i]
		p := params[st.param]
		step := kernels.Momentum{Scale: float32(scale), Rate: float32(rates[st.param]), Decay: float32(decays[st.param]), Mu: float32(o.Momentum)}
		b := velocity[st.param]
		if b != nil {
			b = b[st.from:st.to]
		}
		step.Update(p.Value[st.from:st.to], p.Grad[st.from:st.to], b)
	}))
}

// Forget implements Optimizer.
func (o *SGD) Forget(p *Parameter) {
	if s := o.kept[p]; s != nil {
		o.spare.give(s.Moments...)
		delete(o.kept, p)
	}
}

// Values implements Optimizer: the momentum, where there is one.
func (o *SGD) Values(p *Parameter) int {
	if o.Momentum == 0 {
		return 0
	}
	return p.Len()
}

// Bytes implements Optimizer.
func (o *SGD) Bytes() int {
	n := 0
	for _, s := range o.kept {
		n += 4 * len(s.Moments[0])
	}
	return n
}

// State implements Optimizer.
func (o *SGD) State(p *Parameter) *State { return o.kept[p] }

// SetState implements Optimizer.
func (o *SGD) SetState(p *Parameter, s State) error {
	if err := s.check(len(p.Value)); err != nil {
		return err
	}
	if o.kept == nil {
		o.kept = map[*Parameter]*State{}
	}
	o.kept[p] = &s
	return nil
}
