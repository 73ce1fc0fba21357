package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// sparseMLP is a mixture of experts, each a gated MLP: a row goes to those few
// that the router gives the largest weights, and what they make of it is summed
// by weight. Each expert's projections are sites of their own, of which an
// adapter sees the rows that go there.
type sparseMLP struct {
	router         *Linear
	gate, up, down []*Linear // by expert
	act            kernels.Activation
	each           int  // the experts of a row
	normalise      bool // the weights of a row add up to 1
}

// forward returns what the block adds. It frees x.
//
// The rows of all experts are one Value, so its shape and the work depend on the
// number of rows alone, and a row is computed and summed in the same order
// whatever else is in the batch.
func (f *sparseMLP) forward(p *Pass, segments []Segment, x *Value) *Value {
	logits := f.router.Forward(p, segments, x)
	r := p.newRoutes(x.Rows() * f.each)
	weights := r.weights(p, f, logits)
	r.place(segments, len(f.gate), f.each)
	h := r.spread(p, x)
	gate := r.forward(p, f.gate, h)
	up := r.forward(p, f.up, h)
	p.Free(h)
	h = gated(p, f.act, gate, up)
	y := r.forward(p, f.down, h)
	p.Free(h)
	return r.combine(p, weights, y)
}

// routes says where the rows of a batch go: places, each of one row, stand in
// the order of their experts, and those of one expert in the order of the rows.
type routes struct {
	experts  []int32 // of a row, one after the other
	places   []int32 // of a row with each of its experts
	rows     []int32 // by place
	ends     []int   // by expert: the place after its last
	segments []Segment
	groups   []group
	runs     []linearRun
}

// group is the places of one expert that has some, and their segments.
type group struct{ expert, start, end, firstSegment, lastSegment int }

// newRoutes returns routes with that many places: those of the last block,
// unless the tape may hold them.
func (p *Pass) newRoutes(places int) *routes {
	r := &p.routes
	if p.recording {
		r = &routes{}
	}
	r.experts = slices.Grow(r.experts[:0], places)[:places]
	r.places = slices.Grow(r.places[:0], places)[:places]
	r.rows = slices.Grow(r.rows[:0], places)[:places]
	return r
}

// weights chooses the experts of each row and returns the weights of what they
// make of it. It frees the router's logits.
func (r *routes) weights(p *Pass, f *sparseMLP, logits *Value) *Value {
	w := p.New(logits.Rows(), f.each)
	p.Route(w.Data, r.experts, logits.Data, f.normalise)
	if p.Tracks(w, false, logits) {
		p.OnBackward(w, func(dw kernels.Matrix) {
			p.RouteGrad(p.Grad(logits), dw, logits.Data, r.experts, f.normalise)
		}, logits)
	}
	p.Free(logits)
	return w
}

// place gives each row a place with each of its experts.
func (r *routes) place(segments []Segment, experts, each int) {
	r.ends = slices.Grow(r.ends[:0], experts)[:experts]
	clear(r.ends)
	for _, e := range r.experts {
		r.ends[e]++
	}
	first := 0
	for e, n := range r.ends { // where each begins, and after the next loop where it ends
		r.ends[e] = first
		first += n
	}
	for i, e := range r.experts {
		place := r.ends[e]
		r.places[i], r.rows[place] = int32(place), int32(i/each)
		r.ends[e]++
	}
	r.segments, r.groups = r.segments[:0], r.groups[:0]
	start := 0
	for e, end := range r.ends {
		if start < end {
			first := len(r.segments)
			r.cut(segments, start, end)
			r.groups = append(r.groups, group{e, start, end, first, len(r.segments)})
		}
		start = end
	}
}

// cut adds the segments of places [start, end), whose rows ascend.
func (r *routes) cut(segments []Segment, start, end int) {
	for _, s := range segments {
		from := start
		for start < end && int(r.rows[start]) < s.End {
			start++
		}
		if from < start {
			r.segments = append(r.segments, Segment{from, start, s.Adapter})
		}
	}
}

// spread returns the rows of x by place. It frees x.
func (r *routes) spread(p *Pass, x *Value) *Value {
	y := p.New(len(r.rows), x.Data.Cols)
	p.Gather(y.Data, x.Data, r.rows)
	if p.Tracks(y, false, x) {
		p.OnBackward(y, func(dy kernels.Matrix) { p.AddRows(p.Grad(x), dy, r.rows) })
	}
	p.Free(x)
	return y
}

// forward applies each expert's linear to its places.
func (r *routes) forward(p *Pass, linears []*Linear, x *Value) *Value {
	r.runs = r.runs[:0]
	for _, g := range r.groups {
		r.runs = append(r.runs, linearRun{linears[g.expert], g.start, g.end, r.segments[g.firstSegment:g.lastSegment]})
	}
	return forwardRuns(p, r.runs, linears[0].W.Rows, x)
}

// combine returns the sums by row. It frees both.
func (r *routes) combine(p *Pass, weights, y *Value) *Value {
	out := p.New(weights.Rows(), y.Data.Cols)
	p.Combine(out.Data, y.Data, weights.Data, r.places)
	if p.Tracks(out, false, weights, y) {
		p.OnBackward(out, func(dy kernels.Matrix) {
			p.CombineGrad(p.Grad(y), p.Grad(weights), dy, y.Data, weights.Data, r.places)
		}, weights, y)
	}
	p.Free(weights, y)
	return out
}
