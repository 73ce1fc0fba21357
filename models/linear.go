package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// Linear is y = x·Wᵀ + b at one site: x [rows, in], W [out, in], y [rows, out].
type Linear struct {
	Site int
	W    kernels.Weight
	Bias []float32 // empty: none

	// The gradients of W and Bias; empty unless they are being trained.
	WGrad    kernels.Matrix
	BiasGrad []float32
}

// Forward applies l to x, and to each segment its adapter. Where adapters bring
// weights of other sizes, y is as wide as the widest, and the rest of a row
// beyond its own outputs is undefined.
func (l *Linear) Forward(p *Pass, segments []Segment, x *Value) *Value {
	p.whole[0] = linearRun{l, 0, x.Rows(), segments}
	return forwardRuns(p, p.whole[:], l.width(segments), x)
}

// linearRun is rows [start, end) of a batch, which go through one linear, with their
// segments.
type linearRun struct {
	*Linear
	start, end int
	segments   []Segment
}

// forwardRuns is Forward for the runs that x consists of, each through its own
// linear. y has the given width.
func forwardRuns(p *Pass, runs []linearRun, width int, x *Value) *Value {
	y := p.New(x.Rows(), width)
	in := changedInput(p, runs, x)
	var steps []deltaStep
	trains := false
	for _, r := range runs {
		r.product(p, in.Data, y.Data)
		if p.recording {
			steps = r.recordDeltas(p, steps, in, y)
		}
		r.adapt(p, r.segments, in.Data, y.Data)
		trains = trains || r.trains()
	}
	p.deltas.run(p, false)
	if p.Tracks(y, trains || len(steps) > 0, in) {
		onBackward(p, slices.Clone(runs), in, y, steps)
	}
	if in != x {
		p.Free(in)
	}
	return y
}

// deltaStep is the backward step of one segment's delta.
type deltaStep struct {
	start, end int
	back       func(dy, dx kernels.Matrix)
	kept       []*Value
}

// recordDeltas applies the trainable deltas and adds their steps.
func (r linearRun) recordDeltas(p *Pass, steps []deltaStep, x, y *Value) []deltaStep {
	for _, s := range r.segments {
		d := delta(s, r.Site)
		if d == nil {
			continue
		}
		t, ok := d.(TrainableDelta)
		if !ok {
			panic("models: an adapter that is not trainable is recorded")
		}
		back, kept := t.Record(p, r.Linear, s, x, y)
		steps = append(steps, deltaStep{s.Start, s.End, back, kept})
	}
	return steps
}

// trains reports whether the base's own parameters are being trained.
func (l *Linear) trains() bool { return !l.WGrad.Empty() || len(l.BiasGrad) > 0 }

// onBackward records y = x·Wᵀ + b of each run and the deltas. x is kept only
// where a W is being trained or a delta asks for it.
func onBackward(p *Pass, runs []linearRun, x, y *Value, steps []deltaStep) {
	var kept, given []*Value
	if slices.ContainsFunc(runs, func(r linearRun) bool { return !r.WGrad.Empty() }) {
		kept = append(kept, x)
	}
	for _, step := range steps {
		given = append(given, step.kept...)
	}
	p.OnBackward(y, func(dy kernels.Matrix) {
		dx := p.Grad(x)
		for _, r := range runs {
			if len(r.BiasGrad) > 0 {
				p.ColumnSums(r.BiasGrad, dy.Span(r.start, r.end))
			}
		}
		for _, step := range steps {
			step.back(dy.Span(step.start, step.end), rowsOf(dx, step.start, step.end))
		}
		for _, r := range runs {
			all, dy := dy, dy.Span(r.start, r.end)
			if !r.WGrad.Empty() {
				p.WeightGrad(r.WGrad, dy, x.Data.Span(r.start, r.end))
			}
			if !dx.Empty() {
				r.inputGrad(p, dx, all)
			}
		}
	}, append(kept, given...)...)
	p.Free(given...)
}

// rowsOf is rows [from, to) of a gradient, which may be empty.
func rowsOf(m kernels.Matrix, from, to int) kernels.Matrix {
	if m.Empty() {
		return m
	}
	return m.Span(from, to)
}

// product sets y = x·Wᵀ, W being an adapter's own where it brings one. A
// replacement that is recorded computes its rows by itself.
func (r linearRun) product(p *Pass, x, y kernels.Matrix) {
	start := r.start
	for _, s := range r.segments {
		own, ok := delta(s, r.Site).(Replacement)
		if !ok {
			continue
		}
		r.baseProduct(p, x, y, start, s.Start)
		if w := own.Replaces(); !p.recording {
			p.MatMul(y.Span(s.Start, s.End).Columns(0, w.Rows), x.Span(s.Start, s.End), w)
		}
		start = s.End
	}
	r.baseProduct(p, x, y, start, r.end)
}

// baseProduct sets rows [start, end) of y = x·Wᵀ.
func (r linearRun) baseProduct(p *Pass, x, y kernels.Matrix, start, end int) {
	if start < end {
		p.MatMul(y.Span(start, end).Columns(0, r.W.Rows), x.Span(start, end), r.W)
	}
}

// inputGrad adds to dx what flows through W, which is of no rows with a replacement.
func (r linearRun) inputGrad(p *Pass, dx, dy kernels.Matrix) {
	start := r.start
	through := func(end int) {
		if start < end {
			p.InputGrad(dx.Span(start, end), dy.Span(start, end), r.W)
		}
	}
	for _, s := range r.segments {
		if _, ok := delta(s, r.Site).(Replacement); ok {
			through(s.Start)
			start = s.End
		}
	}
	through(r.end)
}

// outputs is how many outputs l has under a delta, which may be nil.
func (l *Linear) outputs(d LinearDelta) int {
	if own, ok := d.(Replacement); ok {
		return own.Replaces().Rows
	}
	return l.W.Rows
}

// width is the most outputs that a row of the segments has.
func (l *Linear) width(segments []Segment) int {
	if len(segments) == 0 {
		return l.W.Rows
	}
	most := 0
	for _, s := range segments {
		most = max(most, l.outputs(delta(s, l.Site)))
	}
	return most
}

func delta(s Segment, site int) LinearDelta {
	if s.Adapter == nil {
		return nil
	}
	return s.Adapter.Linear(site)
}

// changedInput returns x with the rows changed that an InputDelta changes; x
// itself where there is none.
func changedInput(p *Pass, runs []linearRun, x *Value) *Value {
	in := x
	for _, r := range runs {
		for _, s := range r.segments {
			d, ok := delta(s, r.Site).(InputDelta)
			if !ok {
				continue
			}
			if in == x {
				in = p.New(x.Rows(), x.Data.Cols)
				p.Copy(in.Data, x.Data)
			}
			p.deltas.add(r.Linear, s.Start, s.End, d, x.Data, in.Data)
		}
	}
	if in == x {
		return x
	}
	p.deltas.run(p, true)
	if p.Tracks(in, true, x) {
		onInputBackward(p, slices.Clone(runs), x, in)
	}
	return in
}

// onInputBackward records the change of x into in.
func onInputBackward(p *Pass, runs []linearRun, x, in *Value) {
	p.OnBackward(in, func(dy kernels.Matrix) {
		dx := p.Grad(x)
		for _, r := range runs {
			for _, s := range r.segments {
				dy, rows := dy.Span(s.Start, s.End), rowsOf(dx, s.Start, s.End)
				if t, ok := delta(s, r.Site).(TrainableInput); ok {
					t.InputBackward(p, r.Linear, x.Data.Span(s.Start, s.End), dy, rows)
				} else if !rows.Empty() {
					p.Add(rows, dy)
				}
			}
		}
	}, x)
}

// adapt plans the segments' deltas, and the base's bias elsewhere; deltas.run
// applies them.
func (l *Linear) adapt(p *Pass, segments []Segment, x, y kernels.Matrix) {
	for _, s := range segments {
		d := delta(s, l.Site)
		if d == nil && len(l.Bias) == 0 || d != nil && p.recording {
			continue
		}
		p.deltas.add(l, s.Start, s.End, d, x, y.Columns(0, l.outputs(d)))
	}
}

// forwardAll is Forward for several linears of the same input. Unless it
// records, their products are computed at once, and then their deltas.
func forwardAll(p *Pass, segments []Segment, x *Value, linears ...*Linear) (values [3]*Value) {
	if p.recording || changesProduct(segments, linears) {
		for i, l := range linears {
			values[i] = l.Forward(p, segments, x)
		}
		return values
	}
	for i, l := range linears {
		values[i] = p.New(x.Rows(), l.W.Rows)
		p.products[i] = kernels.Product{Dst: values[i].Data, W: l.W}
	}
	p.MatMuls(x.Data, p.products[:len(linears)]...)
	clear(p.products[:])
	for i, l := range linears {
		l.adapt(p, segments, x.Data, values[i].Data)
	}
	p.deltas.run(p, false)
	return values
}

// changesProduct reports whether an adapter changes the input of one of the
// linears, or its weight.
func changesProduct(segments []Segment, linears []*Linear) bool {
	for _, s := range segments {
		for _, l := range linears {
			switch delta(s, l.Site).(type) {
			case InputDelta, Replacement:
				return true
			}
		}
	}
	return false
}

// deltaTask applies deltas to bands of rows, all at once.
type deltaTask struct {
	bands []band
	input bool
}

// band is a run of rows of one segment at one linear; a nil delta adds the
// base's bias.
type band struct {
	linear *Linear
	delta  LinearDelta
	x, y   kernels.Matrix
}

// bandRows is the most rows of one band: small enough to keep every worker
// busy on a prompt, large enough for the kernels.
const bandRows = 64

func (t *deltaTask) add(l *Linear, start, end int, d LinearDelta, x, y kernels.Matrix) {
	for ; start < end; start += bandRows {
		to := min(start+bandRows, end)
		t.bands = append(t.bands, band{l, d, x.Span(start, to), y.Span(start, to)})
	}
}

// spread cuts the bands where there are fewer of them than threads, as where all
// rows of a decoding step are one adapter's: rows do not depend on each other.
func (t *deltaTask) spread(threads int) {
	n := len(t.bands)
	parts := (threads + n - 1) / n
	for i := range n {
		b := t.bands[i]
		rows := b.y.Rows
		step := (rows + parts - 1) / parts
		if step == rows {
			continue
		}
		t.bands[i].x, t.bands[i].y = b.x.Span(0, step), b.y.Span(0, step)
		for from := step; from < rows; from += step {
			to := min(from+step, rows)
			t.bands = append(t.bands, band{b.linear, b.delta, b.x.Span(from, to), b.y.Span(from, to)})
		}
	}
}

func (t *deltaTask) run(p *Pass, input bool) {
	if len(t.bands) == 0 {
		return
	}
	t.spread(p.Threads())
	t.input = input
	p.Run(len(t.bands), t)
	clear(t.bands)
	t.bands = t.bands[:0]
}

func (t *deltaTask) Part(w *kernels.Worker, part int) {
	b := &t.bands[part]
	switch {
	case b.delta == nil:
		for r := range b.y.Rows {
			kernels.Add(b.y.Row(r), b.linear.Bias)
		}
	case t.input:
		b.delta.(InputDelta).Input(w, b.linear, b.x, b.y)
	default:
		b.delta.Apply(w, b.linear, b.x, b.y)
	}
}
