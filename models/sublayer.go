package models

import "github.com/peft-serve/peft-serve/kernels"

// residual returns x + h, after the inserts that adapters place on sublayer
// site: h is the sublayer's output, [rows, hidden]. It frees x and h.
func residual(p *Pass, site int, segments []Segment, x, h *Value) *Value {
	if p.recording {
		return recordResidual(p, site, segments, x, h)
	}
	t := &p.inserts
	for _, s := range segments {
		if in := insert(s, site); in != nil {
			for start := s.Start; start < s.End; start += bandRows {
				t.bands = append(t.bands, insertBand{start, min(start+bandRows, s.End), in})
			}
		}
	}
	if len(t.bands) > 0 {
		t.x, t.h = x.Data, h.Data
		p.Run(len(t.bands), t)
		clear(t.bands)
		t.bands = t.bands[:0]
	}
	p.Add(h.Data, x.Data)
	p.Free(x)
	return h
}

func insert(s Segment, site int) Insert {
	if s.Adapter == nil {
		return nil
	}
	return s.Adapter.Sublayer(site)
}

// recordResidual is residual with a tape. The sum is a new Value, so that h
// and x keep gradients of their own.
func recordResidual(p *Pass, site int, segments []Segment, x, h *Value) *Value {
	var steps []deltaStep
	var kept []*Value
	for _, s := range segments {
		if in := insert(s, site); in != nil {
			back, values := in.(TrainableInsert).Record(p, s, x, h)
			steps = append(steps, deltaStep{s.Start, s.End, back, values})
			kept = append(kept, values...)
		}
	}
	y := p.New(x.Rows(), x.Data.Cols)
	p.Copy(y.Data, h.Data)
	p.Add(y.Data, x.Data)
	if p.Tracks(y, len(steps) > 0, x, h) {
		p.OnBackward(y, func(dy kernels.Matrix) {
			dx := p.Grad(x)
			if !dx.Empty() {
				p.Add(dx, dy)
			}
			for _, step := range steps {
				rows := dx
				if !dx.Empty() {
					rows = dx.Span(step.start, step.end)
				}
				step.back(dy.Span(step.start, step.end), rows)
			}
			if dh := p.Grad(h); !dh.Empty() {
				p.Add(dh, dy)
			}
		}, kept...)
		p.Free(kept...)
	}
	p.Free(x, h)
	return y
}

// sum returns a + b and frees both.
func sum(p *Pass, a, b *Value) *Value {
	return residual(p, noSite, nil, b, a)
}

// noSite is a sublayer site that nothing stands at.
const noSite = -1

// insertTask applies inserts to bands of rows, all at once.
type insertTask struct {
	bands []insertBand
	x, h  kernels.Matrix
}

type insertBand struct {
	start, end int
	insert     Insert
}

func (t *insertTask) Part(w *kernels.Worker, part int) {
	b := t.bands[part]
	b.insert.Apply(w, t.x.Span(b.start, b.end), t.h.Span(b.start, b.end))
}
