package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// delta changes y, [rows, out], which holds x·Wᵀ without the bias; x is
// [rows, in].
type delta interface {
	forward(o lane, x, y kernels.Matrix)
	// record does the same to rows [s.Start, s.End) of y in a pass that
	// records. The backward step adds to the gradients of the parameters and to
	// dx (empty: not wanted) and turns dy into the gradient of what it changed.
	record(r *recording) (back func(dy, dx kernels.Matrix), kept []*models.Value)
}

// lane computes on an adapter's rows: a worker has those of one adapter in a
// served batch, a recording those of a training pass. What they do is said where
// kernels.Pool defines it. So a family's forward pass is written once.
type lane interface {
	// Take returns an uninitialised matrix: for a worker's part, or until the
	// recording frees it.
	Take(rows, cols int) kernels.Matrix

	Zero(dst kernels.Matrix)
	Copy(dst, x kernels.Matrix)
	Add(dst, x kernels.Matrix)
	AddScaled(dst kernels.Matrix, f float32, x kernels.Matrix)
	AddBias(dst kernels.Matrix, bias []float32)
	AddProduct(dst, x kernels.Matrix, v []float32, c float32)
	Scale(dst kernels.Matrix, f float32)
	ScaleColumns(dst kernels.Matrix, v []float32)
	PutColumns(dst, x kernels.Matrix, columns []int32)
	MatMul(dst, x kernels.Matrix, w kernels.Weight)
	InputGrad(dst, x kernels.Matrix, w kernels.Weight)
	Activate(dst, x kernels.Matrix, act kernels.Activation)
	LayerNorm(dst, x kernels.Matrix, weight, bias []float32, eps float32)
}

// taking is a pass as a lane: it remembers what is taken.
type taking struct {
	*models.Pass
	taken []*models.Value
}

// Take implements lane.
func (t *taking) Take(rows, cols int) kernels.Matrix {
	v := t.New(rows, cols)
	t.taken = append(t.taken, v)
	return v.Data
}

// takes returns what has been taken, for the tape or to be freed.
func (t *taking) takes() []*models.Value {
	taken := t.taken
	t.taken = nil
	return taken
}

var (
	_ lane = (*kernels.Worker)(nil)
	_ lane = (*taking)(nil)
)

// linear is all that an adapter does at one Linear: a weight in W's place, a
// factor on the input, deltas in their order, a bias.
type linear struct {
	base   *models.Linear
	weight *Param // in W's place; absent: W
	factor *Param // on the input, [1, in]; nil: none
	deltas []delta

	own   *Param     // in the bias's place; nil: the base's
	terms []biasTerm // what changes the bias
	bias  []float32  // the adapted bias; nil: the base's, if any

	scale []float32 // factor, widened
	drop  dropout   // in training
}

// biasTerm changes the bias. One that adds a parameter, times a scale, names it.
type biasTerm struct {
	change func(bias []float32)
	param  *Param // nil: it adds none
	scale  float32
}

// dropsOut sets the dropout of its low-rank deltas' input.
func (d *linear) dropsOut(drop dropout) { d.drop = drop }

// addTo adds scale·p to the bias.
func (d *linear) addTo(p *Param, scale float32) {
	d.terms = append(d.terms, biasTerm{func(bias []float32) { kernels.AddScaled(bias, scale, p.vector()) }, p, scale})
}

// active reports whether there is anything to do.
func (d *linear) active() bool {
	return d.weight.replaces() || d.factor != nil || len(d.deltas) > 0 || d.own != nil || len(d.terms) > 0
}

// delta returns d as the models package wants it.
func (d *linear) delta() models.LinearDelta {
	switch {
	case d.weight.replaces():
		return &replacement{d}
	case d.factor != nil:
		return &inputFactor{d}
	}
	return d
}

// whole is d, whatever form delta has given it.
func (d *linear) whole() *linear { return d }

// refresh prepares d and returns what computes its derived state.
func (d *linear) refresh(b *Builder) func() {
	derived := d.own != nil || len(d.terms) > 0
	switch {
	case len(d.terms) > 0:
		d.bias = b.Derive(d.weightOr(d.base.W).Rows)
	case derived:
		d.bias, derived = b.widened(d.own)
	}
	if d.factor != nil {
		d.scale = b.Derive(d.base.W.Cols)
	}
	return func() {
		if d.factor != nil {
			kernels.Decode(d.scale, d.factor.Weight.Format, d.factor.Weight.Data)
		}
		if !derived {
			return
		}
		clear(d.bias)
		if d.own != nil {
			kernels.Decode(d.bias, d.own.Weight.Format, d.own.Weight.Data)
		} else {
			copy(d.bias, d.base.Bias)
		}
		for _, term := range d.terms {
			term.change(d.bias)
		}
	}
}

var (
	_ models.TrainableDelta = (*linear)(nil)
	_ models.TrainableInput = (*inputFactor)(nil)
	_ models.TrainableDelta = (*replacement)(nil)
	_ models.Replacement    = (*replacement)(nil)
)

// Apply implements models.LinearDelta.
func (d *linear) Apply(w *kernels.Worker, l *models.Linear, x, y kernels.Matrix) {
	for _, c := range d.deltas {
		c.forward(w, x, y)
	}
	if bias := d.biasOr(l); len(bias) > 0 {
		w.AddBias(y, bias)
	}
}

// inputFactor is a linear that multiplies its input.
type inputFactor struct{ *linear }

// Input implements models.InputDelta.
func (d *inputFactor) Input(w *kernels.Worker, _ *models.Linear, x, changed kernels.Matrix) {
	w.Copy(changed, x)
	w.ScaleColumns(changed, d.scale)
}

// replacement is a linear with a weight of its own: y is the product with that
// when Apply is called.
type replacement struct{ *linear }

// Replaces implements models.Replacement.
func (d *replacement) Replaces() kernels.Weight { return d.weight.Weight }

// recording is the place of one trainable delta in a pass.
type recording struct {
	taking
	d    *linear
	l    *models.Linear
	s    models.Segment
	x, y *models.Value
}

func (r *recording) in() kernels.Matrix  { return r.x.Data.Span(r.s.Start, r.s.End) }
func (r *recording) out() kernels.Matrix { return r.y.Data.Span(r.s.Start, r.s.End) }

// InputBackward implements models.TrainableInput: x' = f⊙x, so df = Σ dx'⊙x
// and dx = f⊙dx'.
func (d *inputFactor) InputBackward(p *models.Pass, _ *models.Linear, x, dchanged, dx kernels.Matrix) {
	p.ColumnProducts(d.factor.Grad.Data, dchanged, x)
	if dx.Empty() {
		return
	}
	p.ScaleColumns(dchanged, d.scale)
	p.Add(dx, dchanged)
}

// Record implements models.TrainableDelta: the deltas in their order, then the
// bias.
func (d *linear) Record(p *models.Pass, l *models.Linear, s models.Segment, x, y *models.Value) (func(dy, dx kernels.Matrix), []*models.Value) {
	r := &recording{taking{Pass: p}, d, l, s, x, y}
	var kept []*models.Value
	var steps []func(dy, dx kernels.Matrix)
	for _, c := range d.deltas {
		back, values := c.record(r)
		steps, kept = append(steps, back), append(kept, values...)
	}
	if bias := d.biasOr(l); len(bias) > 0 {
		p.AddBias(r.out(), bias)
	}
	return func(dy, dx kernels.Matrix) {
		if d.own.Present() && !d.own.Grad.Empty() {
			p.ColumnSums(d.own.Grad.Data, dy)
		}
		for _, term := range d.terms {
			if term.param == nil {
				continue
			}
			sums := p.New(1, dy.Cols)
			p.Zero(sums.Data)
			p.ColumnSums(sums.Data.Data, dy)
			p.AddScaled(vector(term.param.Grad.Data), term.scale, sums.Data)
			p.Free(sums)
		}
		for i := len(steps) - 1; i >= 0; i-- {
			steps[i](dy, dx)
		}
	}, kept
}

// Record implements models.TrainableDelta: the whole product is the
// adapter's. dy ends as zero, since W has no part in it.
func (d *replacement) Record(p *models.Pass, l *models.Linear, s models.Segment, x, y *models.Value) (func(dy, dx kernels.Matrix), []*models.Value) {
	p.MatMul(y.Data.Span(s.Start, s.End), x.Data.Span(s.Start, s.End), d.weight.Weight)
	back, kept := d.linear.Record(p, l, s, x, y)
	return func(dy, dx kernels.Matrix) {
		back(dy, dx)
		if !d.weight.Grad.Empty() {
			p.WeightGrad(d.weight.Grad, dy, x.Data.Span(s.Start, s.End))
		}
		if !dx.Empty() {
			p.InputGrad(dx, dy, d.weight.Weight)
		}
		p.Zero(dy)
	}, append(kept, p.Keep(x))
}

// biasOr returns the adapted bias, or the base's.
func (d *linear) biasOr(l *models.Linear) []float32 {
	if d.bias != nil {
		return d.bias
	}
	return l.Bias
}

// vector views values as a matrix of one row.
func vector(v []float32) kernels.Matrix { return kernels.MatrixOf(1, len(v), v) }
