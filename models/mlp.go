package models

import "github.com/peft-serve/peft-serve/kernels"

// feedForward is what follows attention in a block: an MLP, or experts.
type feedForward interface {
	// forward returns what the block adds. It frees x.
	forward(p *Pass, segments []Segment, x *Value) *Value
}

// gatedMLP is down·(act(gate·x) ⊙ up·x).
type gatedMLP struct {
	gate, up, down *Linear
	gateUp         *Linear // Phi-3: in the place of gate and up; nil elsewhere
	act            kernels.Activation
}

func (f *gatedMLP) forward(p *Pass, segments []Segment, x *Value) *Value {
	h := f.gated(p, segments, x)
	y := f.down.Forward(p, segments, h)
	p.Free(h)
	return y
}

// gated returns what down is applied to. It frees x.
func (f *gatedMLP) gated(p *Pass, segments []Segment, x *Value) *Value {
	if f.gateUp != nil {
		both := f.gateUp.Forward(p, segments, x)
		p.Free(x)
		return gatedHalves(p, f.act, both)
	}
	projected := forwardAll(p, segments, x, f.gate, f.up)
	p.Free(x)
	return gated(p, f.act, projected[0], projected[1])
}

// gatedHalves returns act(gate) ⊙ up of [gate, up] side by side and frees them.
func gatedHalves(p *Pass, act kernels.Activation, both *Value) *Value {
	n := both.Data.Cols / 2
	gate, up := columns{both, 0, n}, columns{both, n, 2 * n}
	y := p.New(both.Rows(), n)
	p.Gate(y.Data, gate.data(), up.data(), act)
	if p.Tracks(y, false, both) {
		p.OnBackward(y, func(dy kernels.Matrix) {
			p.GateGrad(gate.gradient(p), up.gradient(p), dy, gate.data(), up.data(), act)
		}, both)
	}
	p.Free(both)
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
