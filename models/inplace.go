package models

import "github.com/peft-serve/peft-serve/kernels"

// GradientInPlace makes v's own memory its gradient, for a last Value whose
// contents nobody reads again: the caller turns the contents into the
// gradient. It is v.Data, whether v carries a gradient or not.
func (p *Pass) GradientInPlace(v *Value) kernels.Matrix {
	if v.tracks && v.grad == nil {
		v.grad = p.Keep(v)
	}
	return v.Data
}

// gradOr returns the Value that holds v's gradient; where v carries none, one
// whose contents are lost. It needs a Free.
func (p *Pass) gradOr(v *Value) *Value {
	if v.tracks {
		p.Grad(v)
		return p.Keep(v.grad)
	}
	lost := p.New(v.Data.Rows, v.Data.Cols)
	p.Zero(lost.Data)
	return lost
}
