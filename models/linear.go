package models

import "github.com/peft-serve/peft-serve/kernels"

// Linear is y = x·Wᵀ + b at one site: x [rows, in], W [out, in], y [rows, out].
type Linear struct {
	Site int
	W    kernels.Weight
	Bias []float32 // empty: none

	// The gradients of W and Bias; empty unless they are being trained.
	WGrad    kernels.Matrix
	BiasGrad []float32
}

// Forward applies l to x, and to each segment its adapter.
func (l *Linear) Forward(p *Pass, segments []Segment, x *Value) *Value {
	y := p.New(x.Rows(), l.W.Rows)
	in := l.input(p, segments, x)
	l.product(p, segments, in.Data, y.Data)
	l.adapt(p, segments, in.Data, y.Data)
	if in != x {
		p.Free(in)
	}
	return y
}

// product sets y = x·Wᵀ on the rows that no adapter computes by itself.
func (l *Linear) product(p *Pass, segments []Segment, x, y kernels.Matrix) {
	start := 0
	for _, s := range segments {
		if _, ok := delta(s, l.Site).(Replacement); ok {
			if s.Start > start {
				p.Pool.MatMul(y.Span(start, s.Start), x.Span(start, s.Start), l.W)
			}
			start = s.End
		}
	}
	if start < x.Rows {
		p.Pool.MatMul(y.Span(start, x.Rows), x.Span(start, x.Rows), l.W)
	}
}

func delta(s Segment, site int) LinearDelta {
	if s.Adapter == nil {
		return nil
	}
	return s.Adapter.Linear(site)
}

// input returns x with the rows changed that an InputDelta changes; x itself
// where there is none.
func (l *Linear) input(p *Pass, segments []Segment, x *Value) *Value {
	in := x
	for _, s := range segments {
		d, ok := delta(s, l.Site).(InputDelta)
		if !ok {
			continue
		}
		if in == x {
			in = p.New(x.Rows(), x.Data.Cols)
			in.Data.Copy(x.Data)
		}
		p.deltas.add(s.Start, s.End, d)
	}
	if in != x {
		p.deltas.run(p, l, x.Data, in.Data, true)
	}
	return in
}

// adapt applies the segments' deltas, and the base's bias elsewhere.
func (l *Linear) adapt(p *Pass, segments []Segment, x, y kernels.Matrix) {
	for _, s := range segments {
		if d := delta(s, l.Site); d != nil {
			p.deltas.add(s.Start, s.End, d)
		} else if len(l.Bias) > 0 {
			p.deltas.add(s.Start, s.End, nil)
		}
	}
	p.deltas.run(p, l, x, y, false)
}

// deltaTask applies deltas to bands of rows, all at once.
type deltaTask struct {
	bands []band
	l     *Linear
	x, y  kernels.Matrix
	input bool
}

// band is a run of rows of one segment; a nil delta adds the base's bias.
type band struct {
	start, end int
	delta      LinearDelta
}

// bandRows is the most rows of one band: small enough to keep every worker
// busy on a prompt, large enough for the kernels.
const bandRows = 64

func (t *deltaTask) add(start, end int, d LinearDelta) {
	for ; start < end; start += bandRows {
		t.bands = append(t.bands, band{start, min(start+bandRows, end), d})
	}
}

func (t *deltaTask) run(p *Pass, l *Linear, x, y kernels.Matrix, input bool) {
	if len(t.bands) == 0 {
		return
	}
	t.l, t.x, t.y, t.input = l, x, y, input
	p.Pool.Run(len(t.bands), t)
	clear(t.bands)
	t.bands = t.bands[:0]
}

func (t *deltaTask) Part(w *kernels.Worker, part int) {
	b := t.bands[part]
	x, y := t.x.Span(b.start, b.end), t.y.Span(b.start, b.end)
	switch {
	case b.delta == nil:
		for r := range y.Rows {
			kernels.Add(y.Row(r), t.l.Bias)
		}
	case t.input:
		b.delta.(InputDelta).Input(w, t.l, x, y)
	default:
		b.delta.Apply(w, t.l, x, y)
	}
}
