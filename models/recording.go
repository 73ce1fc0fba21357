package models

import "github.com/peft-serve/peft-serve/kernels"

// Recompute has a recording pass keep, of each block, the input alone: what
// lies within is computed a second time when the tape unwinds (Chen et al.,
// "Training deep nets with sublinear memory cost", 2016). The gradients have
// the same bits.
func (p *Pass) Recompute(on bool) { p.recompute = on }

// block returns f(x), where f is a block that frees its input. It frees x.
func (p *Pass) block(x *Value, f func(x *Value) *Value) *Value {
	mark := p.Mark()
	y := f(p.Keep(x))
	p.unwind(mark, false)
	if y.tracks {
		p.OnBackward(y, func(dy kernels.Matrix) {
			mark := p.Mark()
			p.backward = false
			again := f(p.Keep(x))
			p.backward = true
			p.Copy(p.Grad(again), dy)
			p.Free(again)
			p.unwind(mark, true)
		}, x)
	}
	p.Free(x)
	return y
}

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

// gradOutputs is the number of outputs whose products InputGrad sums before it
// goes on: a fixed split, counted from the first.
const gradOutputs = 1024

// InputGrad adds dy·w to dx. Over the outputs of a whole vocabulary one running
// sum in float32 is off by 1e-4 of its value, because most terms are far
// smaller than the few that come of the labels; so such a sum goes in parts.
func (p *Pass) InputGrad(dx, dy kernels.Matrix, w kernels.Weight) {
	if w.Rows <= 4*gradOutputs {
		p.Operations.InputGrad(dx, dy, w)
		return
	}
	part := p.New(dx.Rows, dx.Cols)
	for from := 0; from < w.Rows; from += gradOutputs {
		to := min(from+gradOutputs, w.Rows)
		p.Zero(part.Data)
		p.Operations.InputGrad(part.Data, dy.Columns(from, to), w.Span(from, to))
		p.Add(dx, part.Data)
	}
	p.Free(part)
}
