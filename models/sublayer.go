package models

import "github.com/peft-serve/peft-serve/kernels"

// residual returns x + h, after the inserts that adapters place on sublayer
// site: h is the sublayer's output, [rows, hidden]. It frees x and h.
func residual(p *Pass, site int, segments []Segment, x, h *Value) *Value {
	t := &p.inserts
	for _, s := range segments {
		if s.Adapter == nil {
			continue
		}
		if in := s.Adapter.Sublayer(site); in != nil {
			for start := s.Start; start < s.End; start += bandRows {
				t.bands = append(t.bands, insertBand{start, min(start+bandRows, s.End), in})
			}
		}
	}
	if len(t.bands) > 0 {
		t.x, t.h = x.Data, h.Data
		p.Pool.Run(len(t.bands), t)
		clear(t.bands)
		t.bands = t.bands[:0]
	}
	p.Pool.Add(h.Data, x.Data)
	p.Free(x)
	return h
}

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
