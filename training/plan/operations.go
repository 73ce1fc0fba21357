package plan

import (
	"slices"

	"github.com/peft-serve/peft-serve/models"
)

// linear is Linear.Forward with the deltas of adapters in training.
func (r *replay) linear(x *value) *value {
	s, at := r.site(models.LinearSite)
	y := r.make(x.rows, s.Linear.W.Rows)
	in := x
	if at.input {
		in = r.make(x.rows, x.cols)
		r.tracks(in, true, x)
		r.onBackward(in, func() { r.gradient(x) }, x)
	}
	var steps []func()
	var values, own []*value
	step := func(back func(), v ...*value) {
		steps, values = append(steps, back), append(values, v...)
	}
	switch {
	case at.rank > 0:
		own = r.lowRank(at, in, y, step)
	case at.output:
		step(func() { r.scratch(1, y.cols) }, in, y)
	case at.whole, at.tokens:
		step(func() {}, in)
	case r.t.Adapter && (at.bias || at.added || at.input):
		step(func() {})
	}
	if at.added {
		step(func() { r.scratch(1, y.cols) })
	}
	m := Matrix{Out: y.cols, In: x.cols, Rank: at.rank, Full: at.weight, Input: in.tracks}
	r.flops.Forward += 2 * float64(x.rows) * m.Forward()
	trains := !r.t.Adapter && (at.weight || at.bias)
	if r.tracks(y, trains || len(steps) > 0, in) {
		if !r.t.Adapter && at.weight {
			values = append(values, in)
		}
		r.onBackward(y, func() {
			r.flops.Backward += 2 * float64(x.rows) * m.Backward()
			r.gradient(in)
			for _, back := range slices.Backward(steps) {
				back()
			}
		}, append(values, own...)...)
		r.free(own...)
	}
	if in != x {
		r.free(in)
	}
	return y
}

// lowRank is the recording of LoRA and DoRA, which keep their input and the
// shrunk rows t; DoRA its output too or, under dropout, what the gain divides.
// It returns those of its own that pass to the tape.
func (r *replay) lowRank(at *placed, x, y *value, step func(func(), ...*value)) []*value {
	dropped := r.t.dropout > 0
	if dropped {
		r.scratch(x.rows, x.cols)
	}
	t := r.make(x.rows, at.rank)
	low := func(dx bool) {
		dt := r.make(x.rows, at.rank)
		if dropped && dx {
			r.scratch(x.rows, x.cols)
		}
		r.free(dt)
	}
	switch {
	case !at.magnitude:
		step(func() {
			var in *value
			if dropped {
				in = r.make(x.rows, x.cols)
			}
			low(x.tracks)
			if in != nil {
				r.free(in)
			}
		}, x)
	case !dropped:
		step(func() {
			r.scratch(2, y.cols)
			low(false)
		}, x, y)
	default:
		u := r.make(x.rows, y.cols)
		r.scratch(x.rows, y.cols)
		step(func() {
			r.scratch(2, y.cols)
			through, in := r.make(x.rows, y.cols), r.make(x.rows, x.cols)
			low(x.tracks)
			r.free(in)
			if x.tracks {
				r.scratch(x.rows, x.cols)
			}
			r.free(through)
		}, x)
		return []*value{t, u}
	}
	return []*value{t}
}

// scratch makes a Value and frees it.
func (r *replay) scratch(rows, cols int) { r.free(r.make(rows, cols)) }

// norm is Norm.Forward.
func (r *replay) norm(x *value) *value {
	_, at := r.site(models.NormSite)
	y := r.make(x.rows, x.cols)
	if r.tracks(y, at.weight || at.bias, x) {
		r.onBackward(y, func() {
			s := r.make(2, x.rows)
			r.gradient(x)
			r.free(s)
		}, x)
	}
	return y
}

// perHead is Norm.perHead.
func (r *replay) perHead(x *value) *value {
	s, at := r.site(models.NormSite)
	heads := x.cols / len(s.Norm.Weight)
	y := r.make(x.rows, x.cols)
	if r.tracks(y, at.weight || at.bias, x) {
		r.onBackward(y, func() {
			s := r.make(2, x.rows*heads)
			r.gradient(x)
			r.free(s)
		}, x)
	}
	r.free(x)
	return y
}

// rotate is models.rotate.
func (r *replay) rotate(x *value) *value {
	y := r.make(x.rows, x.cols)
	if r.tracks(y, false, x) {
		r.onBackward(y, func() { r.gradient(x) })
	}
	r.free(x)
	return y
}

// attend is models.attend, with keys and values that live on the tape.
func (r *replay) attend(width int, q, k, v *value) *value {
	c := &r.base.config
	own := r.makeAs(keyValue, 2, r.kv*kvBlock(c))
	out := r.make(q.rows, width)
	products := 2 * 2 * float64(q.rows) * r.keys * float64(width)
	r.flops.AttentionForward += products
	if !r.tracks(out, r.t.prefix > 0, q, k, v) {
		r.free(own)
		return out
	}
	lse := r.make(q.rows, c.Heads)
	r.onBackward(out, func() {
		r.flops.AttentionBackward += 2 * products
		grad := r.make(own.rows, own.cols)
		r.gradient(q)
		r.gradient(k)
		r.gradient(v)
		r.scratch(2, c.KVHeads*c.HeadDim)
		r.free(grad)
	}, q, out, lse, own)
	r.free(lse, own)
	return out
}

// gated is models.gated.
func (r *replay) gated(gate, up *value) *value {
	y := r.make(gate.rows, gate.cols)
	if r.tracks(y, false, gate, up) {
		r.onBackward(y, func() {
			r.gradient(gate)
			r.gradient(up)
		}, gate, up)
	}
	r.free(gate, up)
	return y
}

// activated is models.activated.
func (r *replay) activated(x *value) *value {
	y := r.make(x.rows, x.cols)
	if r.tracks(y, false, x) {
		r.onBackward(y, func() {
			s := r.make(x.rows, x.cols)
			r.gradient(x)
			r.free(s)
		}, x)
	}
	r.free(x)
	return y
}

// residual is models.residual with the bottleneck of an adapter in training,
// which is computed anew in the backward pass.
func (r *replay) residual(x, h *value, at *placed) *value {
	var values []*value
	var was *value
	if at.down > 0 {
		was = r.make(h.rows, h.cols)
		if r.t.dropout > 0 {
			r.free(r.bottleneck(h, at)...)
		}
		values = append(values, x, was)
		m := r.bottleneckMatrix(at)
		r.flops.Forward += 2 * 2 * float64(x.rows) * m.Forward() // down and up
	}
	y := r.make(x.rows, x.cols)
	if r.tracks(y, at.down > 0, x, h) {
		r.onBackward(y, func() {
			r.gradient(x)
			if was != nil {
				r.bottleneckBackward(h, at)
			}
			r.gradient(h)
		}, values...)
		if was != nil {
			r.free(was)
		}
	}
	r.free(x, h)
	return y
}

// bottleneck makes what the backward pass of a bottleneck reads.
func (r *replay) bottleneck(h *value, at *placed) []*value {
	return []*value{
		r.make(h.rows, h.cols), r.make(h.rows, at.down), r.make(h.rows, at.down), r.make(h.rows, h.cols), r.make(h.rows, h.cols),
	}
}

// bottleneckMatrix is one of its two matrices, for counting.
func (r *replay) bottleneckMatrix(at *placed) Matrix {
	return Matrix{Out: at.down, In: r.base.config.Hidden, Full: true, Input: true}
}

func (r *replay) bottleneckBackward(h *value, at *placed) {
	m := r.bottleneckMatrix(at)
	r.flops.Backward += 2 * 2 * float64(h.rows) * m.Backward()
	forward := r.bottleneck(h, at)
	du := r.make(h.rows, h.cols)
	normGrad := func() {
		dx := r.make(h.rows, h.cols)
		r.scratch(2, h.rows)
		r.free(dx)
	}
	if at.norms[1] {
		normGrad()
	}
	if at.factor {
		r.scratch(1, h.cols)
	}
	da, dt := r.make(h.rows, at.down), r.make(h.rows, at.down)
	if at.norms[0] {
		normGrad()
	}
	r.free(du, da, dt)
	r.free(forward...)
}
