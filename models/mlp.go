package models

import "github.com/peft-serve/peft-serve/kernels"

// gatedMLP is down·(act(gate·x) ⊙ up·x).
type gatedMLP struct {
	gate, up, down *Linear
	act            kernels.Activation
}

// forward returns what the block adds. It frees x.
func (f *gatedMLP) forward(p *Pass, segments []Segment, x *Value) *Value {
	projected := forwardAll(p, segments, x, f.gate, f.up)
	p.Free(x)
	h := gated(p, f.act, projected[0], projected[1])
	y := f.down.Forward(p, segments, h)
	p.Free(h)
	return y
}

// gated returns act(gate) ⊙ up and frees both.
func gated(p *Pass, act kernels.Activation, gate, up *Value) *Value {
	if !p.recording {
		p.Gate(gate.Data, gate.Data, up.Data, act)
		p.Free(up)
		return gate
	}
	y := p.New(gate.Rows(), gate.Data.Cols)
	p.Gate(y.Data, gate.Data, up.Data, act)
	if p.Tracks(y, false, gate, up) {
		p.OnBackward(y, func(dy kernels.Matrix) {
			dgate, dup := p.gradOr(gate), p.gradOr(up)
			p.GateGrad(dgate.Data, dup.Data, dy, gate.Data, up.Data, act)
			p.Free(dgate, dup)
		}, gate, up)
	}
	p.Free(gate, up)
	return y
}

// activated returns act(x) and frees x.
func activated(p *Pass, act kernels.Activation, x *Value) *Value {
	if !p.recording {
		p.Activate(x.Data, x.Data, act)
		return x
	}
	y := p.New(x.Rows(), x.Data.Cols)
	p.Activate(y.Data, x.Data, act)
	if p.Tracks(y, false, x) {
		p.OnBackward(y, func(dy kernels.Matrix) {
			scratch := p.New(x.Rows(), x.Data.Cols)
			p.ActivateGrad(p.Grad(x), dy, x.Data, scratch.Data, act)
			p.Free(scratch)
		}, x)
	}
	p.Free(x)
	return y
}
