package models

import "github.com/peft-serve/peft-serve/kernels"

// Pass is one forward pass: the operations it computes by, the buffers it uses
// again and again, and, when it records, the tape of its backward pass.
//
// A Value lives from New to the last Free. What the backward pass needs is
// kept on the tape and freed as the tape unwinds, so the memory in use is at
// each moment what is still needed and no more.
//
// A Pass belongs to one goroutine.
type Pass struct {
	Operations

	measures  bool // Values have shapes and no data
	recording bool
	recompute bool
	tape      []operation
	idle      []*Value // freed, ascending by capacity; of passes that do not record
	arena     arena    // of passes that record
	deltas    deltaTask
	inserts   insertTask
	lookups   lookupTask
	products  [3]kernels.Product
	whole     [1]linearRun
	routes    routes
	spans     []kernels.Span // see prefixes
	zeros     []int32        // see types
	scratch   []int32        // see integers
	relative  relativeScratch
	segments  []Segment
	cut       []Segment
	makes     category // what New makes
	backward  bool     // the tape unwinds
	live      Live     // of the Values in use
	peak      Live     // when its sum was largest
}

// operation is one entry of the tape: what out was made from.
type operation struct {
	out  *Value
	kept []*Value
	back func(dy kernels.Matrix)
}

// NewPass returns a Pass that computes on pool.
func NewPass(pool *kernels.Pool) *Pass { return &Pass{Operations: pool} }

// Record makes the following forward computation write a tape, until Backward
// or Discard.
func (p *Pass) Record() { p.recording = true }

// Recording reports whether the pass writes a tape.
func (p *Pass) Recording() bool { return p.recording }

// Live is the memory of a pass at one moment, in bytes.
type Live struct {
	Kept      int // activations of the forward pass
	KV        int // keys and values, which live on the tape
	Workspace int // gradients of activations, logits and scratch
}

// Total is the sum.
func (l Live) Total() int { return l.Kept + l.KV + l.Workspace }

// category says which part of Live a Value is of.
type category uint8

const (
	kept category = iota
	keyValue
	workspace
)

// count adds sign times v's bytes to what is live.
func (p *Pass) count(v *Value, sign int) {
	n := sign * 4 * v.Data.Rows * v.Data.Cols
	switch v.of {
	case kept:
		p.live.Kept += n
	case keyValue:
		p.live.KV += n
	case workspace:
		p.live.Workspace += n
	}
	if p.live.Total() > p.peak.Total() {
		p.peak = p.live
	}
}

// Live is the size of the Values and gradients in use, and that when their sum
// was largest.
func (p *Pass) Live() (now, peak Live) { return p.live, p.peak }

// Value is a matrix made during a pass and, while recording, its gradient.
type Value struct {
	Data   kernels.Matrix
	grad   *Value
	tracks bool
	refs   int
	buffer []float32
	slab   *slab // what buffer is part of, from at on; nil: memory of its own
	at     int
	of     category
}

// Rows is the number of rows.
func (v *Value) Rows() int { return v.Data.Rows }

// New returns a Value of the given shape with arbitrary contents.
func (p *Pass) New(rows, cols int) *Value {
	return p.newOf(p.makes, rows, cols)
}

func (p *Pass) newOf(of category, rows, cols int) *Value {
	var v *Value
	if p.measures {
		v = &Value{Data: kernels.ShapeOf(rows, cols)}
	} else {
		v = p.take(rows * cols)
		v.Data = kernels.MatrixOf(rows, cols, v.buffer)
	}
	v.refs, v.of = 1, of
	p.count(v, 1)
	return v
}

// take returns the smallest idle Value that holds n elements; failing that it
// gives the largest idle one a new buffer. When recording, where many live at
// once, memory comes from the arena.
func (p *Pass) take(n int) *Value {
	if p.recording {
		v := &Value{}
		v.buffer, v.slab, v.at = p.arena.take(n)
		return v
	}
	for i, v := range p.idle {
		if cap(v.buffer) >= n {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return v
		}
	}
	if last := len(p.idle) - 1; last >= 0 {
		v := p.idle[last]
		p.idle = p.idle[:last]
		v.buffer = make([]float32, n)
		return v
	}
	return &Value{buffer: make([]float32, n)}
}

// Workspace returns what f makes, counted as workspace: logits, whose memory
// becomes that of their gradient.
func (p *Pass) Workspace(f func() *Value) *Value {
	was := p.makes
	p.makes = workspace
	v := f()
	p.makes = was
	return v
}

// Keep adds a use to v, which needs one more Free.
func (p *Pass) Keep(v *Value) *Value {
	v.refs++
	return v
}

// Free ends one use of each Value; after the last its buffer serves anew.
func (p *Pass) Free(values ...*Value) {
	for _, v := range values {
		v.refs--
		if v.refs > 0 {
			continue
		}
		if v.refs < 0 {
			panic("models: a value is freed twice")
		}
		p.count(v, -1)
		if v.slab == nil {
			if !p.measures {
				p.put(v)
			}
			continue
		}
		// The tape may still know this Value: only its memory is free.
		v.slab.give(v.at, cap(v.buffer))
		v.buffer = nil
	}
}

func (p *Pass) put(v *Value) {
	i := len(p.idle)
	for i > 0 && cap(p.idle[i-1].buffer) > cap(v.buffer) {
		i--
	}
	p.idle = append(p.idle, nil)
	copy(p.idle[i+1:], p.idle[i:])
	p.idle[i] = v
}

// Tracks reports whether out must be recorded: the pass records, and either
// one of the inputs carries a gradient or the operation trains something of
// its own. It marks out accordingly.
func (p *Pass) Tracks(out *Value, trains bool, inputs ...*Value) bool {
	if !p.recording {
		return false
	}
	for _, in := range inputs {
		trains = trains || in.tracks
	}
	out.tracks = trains
	return trains
}

// OnBackward records how out was made: back is called with out's gradient
// when the tape unwinds, and then out's gradient and the kept Values are
// freed. Operations are unwound in the reverse of their order.
func (p *Pass) OnBackward(out *Value, back func(dy kernels.Matrix), kept ...*Value) {
	for _, v := range kept {
		p.Keep(v)
	}
	p.tape = append(p.tape, operation{out, kept, back})
}

// Grad is the gradient of v, zero at first, to be added to; empty where v
// carries none.
func (p *Pass) Grad(v *Value) kernels.Matrix {
	if !v.tracks {
		return kernels.Matrix{}
	}
	if v.grad == nil {
		v.grad = p.newOf(workspace, v.Data.Rows, v.Data.Cols)
		p.Zero(v.grad.Data)
	}
	return v.grad.Data
}

// Mark is the tape's length, for BackwardTo.
func (p *Pass) Mark() int { return len(p.tape) }

// BackwardTo unwinds what was recorded since Mark and goes on recording, so
// that a loss can be computed in chunks. The gradients of the last Values have
// been set through Grad.
func (p *Pass) BackwardTo(mark int) { p.unwind(mark, true) }

// Backward unwinds the tape and ends the recording.
func (p *Pass) Backward() {
	p.unwind(0, true)
	p.recording = false
}

// Discard drops the tape without running it and ends the recording.
func (p *Pass) Discard() {
	p.unwind(0, false)
	p.recording = false
}

func (p *Pass) unwind(mark int, run bool) {
	made, back := p.makes, p.backward
	p.makes, p.backward = workspace, true
	defer func() { p.makes, p.backward = made, back }()
	for i := len(p.tape) - 1; i >= mark; i-- {
		op := p.tape[i]
		p.tape[i] = operation{}
		if g := op.out.grad; g != nil {
			if run {
				op.back(g.Data)
			}
			op.out.grad = nil
			p.Free(g)
		}
		p.Free(op.kept...)
	}
	p.tape = p.tape[:mark]
}

// Slice returns a copy of rows [from, to) of v, whose gradient flows back.
func (p *Pass) Slice(v *Value, from, to int) *Value {
	out := p.New(to-from, v.Data.Cols)
	p.Copy(out.Data, v.Data.Span(from, to))
	if p.Tracks(out, false, v) {
		p.OnBackward(out, func(dy kernels.Matrix) {
			p.Add(p.Grad(v).Span(from, to), dy)
		})
	}
	return out
}
