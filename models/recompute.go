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
