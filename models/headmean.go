package models

import "github.com/peft-serve/peft-serve/kernels"

// means returns the mean of the rows x, which are those in b.Out, of each text, and the
// segments of those means.
func (h *Head) means(p *Pass, b *Batch, x *Value) (*Value, []Segment) {
	var ends []int
	var segments []Segment
	row := 0
	for _, span := range b.Spans {
		for row < x.Rows() && (b.Out == nil && row < span.End || b.Out != nil && int(b.Out[row]) < span.End) {
			row++
		}
		ends = append(ends, row)
	}
	for _, s := range b.Segments {
		own := Segment{Start: -1, Adapter: s.Adapter}
		for i, span := range b.Spans {
			if span.Start < s.Start || span.End > s.End {
				continue
			}
			if own.Start < 0 {
				own.Start = i
			}
			own.End = i + 1
		}
		if own.Start >= 0 {
			segments = append(segments, own)
		}
	}
	y := p.New(len(ends), x.Data.Cols)
	each := func(f func(i, from, to int)) {
		from := 0
		for i, to := range ends {
			f(i, from, to)
			from = to
		}
	}
	if len(y.Data.Data) > 0 { // or it is a shape
		sum := make([]float64, x.Data.Cols)
		each(func(i, from, to int) {
			clear(sum)
			for r := from; r < to; r++ {
				for c, v := range x.Data.Row(r) {
					sum[c] += float64(v)
				}
			}
			for c := range sum {
				y.Data.Row(i)[c] = float32(sum[c] / float64(to-from))
			}
		})
	}
	if p.Tracks(y, false, x) {
		p.OnBackward(y, func(dy kernels.Matrix) {
			dx := p.Grad(x)
			if len(dx.Data) == 0 {
				return
			}
			each(func(i, from, to int) {
				for r := from; r < to; r++ {
					for c, v := range dy.Row(i) {
						dx.Row(r)[c] += v / float32(to-from)
					}
				}
			})
		})
	}
	return y, segments
}

// OfMean returns the scores of a text under an adapter whose mean is row, in as many
// columns as the adapter's head, or the base's, has classes.
func (h *Head) OfMean(p *Pass, a Adapter, row kernels.Matrix) *Value {
	x := p.New(1, row.Cols)
	p.Copy(x.Data, row)
	scores := h.through(p, []Segment{{0, 1, a}}, x)
	p.Free(x)
	return scores
}

// headForms are what heads of tasks consist of.
func (s *Source) headForms() map[Task]headForm {
	if s.forms != nil {
		return s.forms
	}
	return s.Architecture.heads
}

// prediction reads what stands before the scores of heads, where a base has it without a
// head of its own: the sites of dense and norm; nil: it has not. A shape of a class with any
// head has it.
func (s *Source) prediction(c *Config) Sites {
	for _, form := range s.headForms() {
		if form.norm == nil || s.class == form.class {
			continue
		}
		has := s.Has(form.dense+".weight") && s.Has(form.norm.module+".weight")
		if s.shape {
			has = s.class != s.Architecture.Class
		}
		if !has {
			continue
		}
		b := s.build(-1)
		b.linear(form.dense, c.Hidden, c.Hidden, biasIf(!form.plain))
		form.norm.read(b, c.Hidden)
		own := s.sites[c.trunk:]
		own[0].Biased = !form.plain
		s.sites = s.sites[:c.trunk:c.trunk]
		return own
	}
	return nil
}

func (n *headNorm) read(b *layerBuilder, hidden int) *Norm {
	return b.layerNormBiased(n.module, hidden, n.epsilon, biasIf(n.biased))
}

// fresh is the norm as it begins.
func (n *headNorm) fresh(site, hidden int) *Norm {
	norm := &Norm{Site: site, Eps: n.epsilon, Weight: make([]float32, hidden)}
	for i := range norm.Weight {
		norm.Weight[i] = 1
	}
	if n.biased {
		norm.Bias = make([]float32, hidden)
	}
	return norm
}
