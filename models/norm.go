package models

import "github.com/peft-serve/peft-serve/kernels"

// Norm is RMSNorm or LayerNorm over the columns of its input, at one site.
type Norm struct {
	Site   int
	Weight []float32
	Bias   []float32 // LayerNorm alone
	Eps    float32
	RMS    bool
}

// Forward returns the norm of x, by segment the adapter's own.
func (n *Norm) Forward(p *Pass, segments []Segment, x *Value) *Value {
	y := p.New(x.Rows(), x.Data.Cols)
	for start := 0; start < x.Rows(); {
		norm, end := n, x.Rows()
		// Neighbouring segments without a norm of their own run as one.
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
		norm.apply(p.Pool, y.Data.Span(start, end), x.Data.Span(start, end))
		start = end
	}
	return y
}

func ownNorm(s Segment, site int) *Norm {
	if s.Adapter == nil {
		return nil
	}
	return s.Adapter.Norm(site)
}

func (n *Norm) apply(pool *kernels.Pool, dst, x kernels.Matrix) {
	if n.RMS {
		pool.RMSNorm(dst, x, n.Weight, n.Eps)
	} else {
		pool.LayerNorm(dst, x, n.Weight, n.Bias, n.Eps)
	}
}

// perHead normalises each head of x, [rows, heads*headDim], in place (Qwen3's
// q_norm and k_norm).
func (n *Norm) perHead(p *Pass, segments []Segment, x *Value) {
	d := len(n.Weight)
	heads := x.Data.Cols / d
	for _, s := range segments {
		norm := n
		if own := ownNorm(s, n.Site); own != nil {
			norm = own
		}
		rows := x.Data.Span(s.Start, s.End)
		split := kernels.MatrixOf(rows.Rows*heads, d, rows.Data)
		norm.apply(p.Pool, split, split)
	}
}
