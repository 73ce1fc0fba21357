package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// convolution is a convolution over the rows of a text with an activation: y [rows, out]
// of x [rows, in]. Its Linear acts on what is around a row, [rows, in·width].
type convolution struct {
	*Linear
	act kernels.Activation
}

// convolution reads one of an odd width whose input is as wide as its output.
func (b *layerBuilder) convolution(module string, hidden, width int) *Linear {
	name := b.name(module)
	weight := name + ".weight"
	l := &Linear{}
	if b.s.shape {
		l.W = b.weight(weight, hidden, hidden*width)
	} else {
		w, err := b.s.convolution(weight, width)
		l.W = b.read(weight, w, err, hidden, hidden*width)
	}
	l.Bias = b.biased(name, hidden, with)
	l.Site = b.site(Site{Name: name, Kind: LinearSite, Linear: l, Convolution: width})
	return l
}

// forward leaves x.
func (c *convolution) forward(p *Pass, b *Batch, x *Value) *Value {
	around := p.New(x.Rows(), c.W.Cols)
	p.Unfold(around.Data, x.Data, b.Spans)
	if p.Tracks(around, false, x) {
		spans := slices.Clone(b.Spans)
		p.OnBackward(around, func(dy kernels.Matrix) { p.UnfoldGrad(p.Grad(x), dy, spans) })
	}
	y := activated(p, c.act, c.Forward(p, b.Segments, around))
	p.Free(around)
	return y
}

// convolved is a block beside which a convolution of its input stands: their sum has a
// norm.
type convolved struct {
	*postNorm
	convolution *convolution
	norm        *Norm
}

// forward implements encoderBlock.
func (l *convolved) forward(p *Pass, b *Batch, x *Value) *Value {
	c := l.convolution.forward(p, b, x)
	segments := b.Segments
	if l.last {
		c, segments = gather(p, c, b.Out), b.outSegments(p)
	}
	return l.norm.replace(p, segments, sum(p, c, l.postNorm.forward(p, b, x)))
}
