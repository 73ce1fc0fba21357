package plan

// tape replays a recording models.Pass on sizes alone: the same Values are
// made, kept and freed in the same order, and nothing is computed.
type tape struct {
	operations []operation
	backward   bool // what is made now belongs to the backward pass
	live       Live
	peak       Live // when its sum was largest
}

// Live is the memory of a pass at one moment, in bytes.
type Live struct {
	Kept      int // activations of the forward pass
	KV        int // keys and values, which live on the tape
	Workspace int // gradients of activations, logits and scratch
}

// Total is the sum: the peak of models.Pass.Live.
func (l Live) Total() int { return l.Kept + l.KV + l.Workspace }

type category uint8

const (
	kept category = iota
	keyValue
	workspace
)

// value is a models.Value: a matrix and, once somebody wants it, its gradient.
type value struct {
	rows, cols int
	of         category
	tracks     bool
	refs       int
	grad       *value
}

type operation struct {
	out  *value
	kept []*value
	back func()
}

func (t *tape) count(v *value, sign int) {
	n := sign * 4 * v.rows * v.cols
	switch v.of {
	case kept:
		t.live.Kept += n
	case keyValue:
		t.live.KV += n
	case workspace:
		t.live.Workspace += n
	}
	if t.live.Total() > t.peak.Total() {
		t.peak = t.live
	}
}

// make is Pass.New.
func (t *tape) make(rows, cols int) *value {
	of := kept
	if t.backward {
		of = workspace
	}
	return t.makeAs(of, rows, cols)
}

func (t *tape) makeAs(of category, rows, cols int) *value {
	v := &value{rows: rows, cols: cols, of: of, refs: 1}
	t.count(v, 1)
	return v
}

func (t *tape) keep(v *value) *value {
	v.refs++
	return v
}

func (t *tape) free(values ...*value) {
	for _, v := range values {
		if v.refs--; v.refs == 0 {
			t.count(v, -1)
		}
	}
}

// tracks is Pass.Tracks.
func (t *tape) tracks(out *value, trains bool, inputs ...*value) bool {
	for _, in := range inputs {
		trains = trains || in.tracks
	}
	out.tracks = trains
	return trains
}

// onBackward is Pass.OnBackward.
func (t *tape) onBackward(out *value, back func(), values ...*value) {
	for _, v := range values {
		t.keep(v)
	}
	t.operations = append(t.operations, operation{out, values, back})
}

// gradient is Pass.Grad.
func (t *tape) gradient(v *value) {
	if v.tracks && v.grad == nil {
		v.grad = t.makeAs(workspace, v.rows, v.cols)
	}
}

// inPlace is Pass.GradientInPlace.
func (t *tape) inPlace(v *value) {
	if v.tracks && v.grad == nil {
		v.grad = t.keep(v)
	}
}

func (t *tape) unwind(mark int) {
	was := t.backward
	t.backward = true
	for i := len(t.operations) - 1; i >= mark; i-- {
		op := t.operations[i]
		if g := op.out.grad; g != nil {
			op.back()
			op.out.grad = nil
			t.free(g)
		}
		t.free(op.kept...)
	}
	t.operations = t.operations[:mark]
	t.backward = was
}

// discard is Pass.unwind without running the operations.
func (t *tape) discard(mark int) {
	for i := len(t.operations) - 1; i >= mark; i-- {
		t.free(t.operations[i].kept...)
	}
	t.operations = t.operations[:mark]
}
