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
