package models

import "github.com/peft-serve/peft-serve/kernels"

// Norm is RMSNorm or LayerNorm over the columns of its input, at one site.
type Norm struct {
	Site   int
	Weight []float32
	Bias   []float32 // LayerNorm alone
	Eps    float32
	Offset float32 // of an RMSNorm, added to Weight as it acts: 1 in Gemma
	RMS    bool

	// The gradients of Weight and Bias; empty unless they are being trained.
	WeightGrad, BiasGrad []float32
}

// Forward returns the norm of x, by segment the adapter's own.
func (n *Norm) Forward(p *Pass, segments []Segment, x *Value) *Value {
	y := p.New(x.Rows(), x.Data.Cols)
	n.spans(segments, x.Rows(), func(norm *Norm, start, end int) {
		norm.apply(p, y.Data.Span(start, end), x.Data.Span(start, end))
	})
	if p.Tracks(y, n.trains(segments), x) {
		p.OnBackward(y, func(dy kernels.Matrix) { n.backward(p, segments, dy, x) }, x)
	}
	return y
}

// replace is Forward that frees x.
func (n *Norm) replace(p *Pass, segments []Segment, x *Value) *Value {
	y := n.Forward(p, segments, x)
	p.Free(x)
	return y
}

// spans calls f for each run of rows with the norm that holds there:
// neighbouring segments without a norm of their own are one run.
func (n *Norm) spans(segments []Segment, rows int, f func(norm *Norm, start, end int)) {
	for start := 0; start < rows; {
		norm, end := n, rows
		for _, s := range segments {
			if s.End <= start {
				continue
			}
			own := ownNorm(s, n.Site)
			if s.Start <= start {
				if own != nil {
					norm, end = own, s.End
					break
				}
				continue
			}
			if own != nil {
				end = s.Start
				break
			}
		}
		f(norm, start, end)
		start = end
	}
}

// trains reports whether a norm in force has a gradient.
func (n *Norm) trains(segments []Segment) bool {
	trains := len(n.WeightGrad) > 0 || len(n.BiasGrad) > 0
	for _, s := range segments {
		if own := ownNorm(s, n.Site); own != nil {
			trains = trains || len(own.WeightGrad) > 0 || len(own.BiasGrad) > 0
		}
	}
	return trains
}

func (n *Norm) backward(p *Pass, segments []Segment, dy kernels.Matrix, x *Value) {
	scratch := p.New(2, x.Rows())
	n.spans(segments, x.Rows(), func(norm *Norm, start, end int) {
		dx := p.Grad(x)
		if !dx.Empty() {
			dx = dx.Span(start, end)
		}
		p.NormGrad(dx, dy.Span(start, end), x.Data.Span(start, end), norm.Weight, norm.Offset, norm.Eps, norm.RMS, norm.WeightGrad, norm.BiasGrad, scratch.Data.Data)
	})
	p.Free(scratch)
}

func ownNorm(s Segment, site int) *Norm {
	if s.Adapter == nil {
		return nil
	}
	return s.Adapter.Norm(site)
}

func (n *Norm) apply(p *Pass, dst, x kernels.Matrix) {
	if n.RMS {
		p.RMSNorm(dst, x, n.Weight, n.Offset, n.Eps)
	} else {
		p.LayerNorm(dst, x, n.Weight, n.Bias, n.Eps)
	}
}

// perHead returns the norm of each head of x, [rows, heads*headDim] (Qwen3's
// q_norm and k_norm). It frees x.
func (n *Norm) perHead(p *Pass, segments []Segment, x *Value) *Value {
	heads := x.Data.Cols / len(n.Weight)
	y := p.New(x.Rows(), x.Data.Cols)
	n.spans(segments, x.Rows(), func(norm *Norm, start, end int) {
		norm.apply(p, byHead(y.Data.Span(start, end), heads), byHead(x.Data.Span(start, end), heads))
	})
	if p.Tracks(y, n.trains(segments), x) {
		p.OnBackward(y, func(dy kernels.Matrix) {
			scratch := p.New(2, x.Rows()*heads)
			n.spans(segments, x.Rows(), func(norm *Norm, start, end int) {
				dx := p.Grad(x)
				if !dx.Empty() {
					dx = byHead(dx.Span(start, end), heads)
				}
				p.NormGrad(dx, byHead(dy.Span(start, end), heads), byHead(x.Data.Span(start, end), heads), norm.Weight, norm.Offset, norm.Eps, norm.RMS, norm.WeightGrad, norm.BiasGrad, scratch.Data.Data)
			})
			p.Free(scratch)
		}, x)
	}
	p.Free(x)
	return y
}

// byHead views contiguous rows of several heads as a row a head.
func byHead(m kernels.Matrix, heads int) kernels.Matrix {
	return m.Reshape(m.Rows*heads, m.Cols/heads)
}
