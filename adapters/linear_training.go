package adapters

import (
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// trainable is a delta that records. The forward step changes y, rows
// [s.Start, s.End) of which are its own, as apply does. The backward step adds
// to the gradients of the parameters and to dx (empty: not wanted) and turns
// dy into the gradient of what it changed.
type trainable interface {
	record(r *recording) (back func(dy, dx kernels.Matrix), kept []*models.Value)
}

// recording is the place of one trainable delta in a pass.
type recording struct {
	p    *models.Pass
	d    *trainedParts
	l    *models.Linear
	s    models.Segment
	x, y *models.Value
}

func (r *recording) in() kernels.Matrix  { return r.x.Data.Span(r.s.Start, r.s.End) }
func (r *recording) out() kernels.Matrix { return r.y.Data.Span(r.s.Start, r.s.End) }

// trainedParts is what a linear in training has beside the linear.
type trainedParts struct {
	*linear
	drop dropout
	// added is a vector that goes on top of the base's bias, times a scale:
	// lora_B.bias and beft_bias.
	added []float32 // its gradient; nil: none
	scale float32
}

func (t *trained) linear(d *linear, name string) *trainedParts {
	parts := &trainedParts{linear: d, drop: dropout{t, random.Named(t.Seed, name)}, scale: 1}
	if parts.added = t.gradient(name + ".beft_bias"); parts.added == nil {
		parts.added = t.gradient(name + ".lora_B.bias")
		if len(d.deltas) > 0 {
			if low, ok := d.deltas[0].(*lowRank); ok {
				parts.scale = low.scale
			}
		}
	}
	return parts
}

type trainedLinear struct {
	parts *trainedParts
	*linear
}

type trainedInput struct {
	parts *trainedParts
	*inputFactor
}

type trainedReplacement struct {
	parts *trainedParts
	*replacement
}

var (
	_ models.TrainableDelta = (*trainedLinear)(nil)
	_ models.TrainableDelta = (*trainedReplacement)(nil)
	_ models.Replacement    = (*trainedReplacement)(nil)
	_ models.TrainableDelta = (*trainedInput)(nil)
	_ models.TrainableInput = (*trainedInput)(nil)
)

// Record implements models.TrainableDelta.
func (d *trainedLinear) Record(p *models.Pass, l *models.Linear, s models.Segment, x, y *models.Value) (func(dy, dx kernels.Matrix), []*models.Value) {
	return d.parts.record(p, l, s, x, y)
}

// Record implements models.TrainableDelta.
func (d *trainedInput) Record(p *models.Pass, l *models.Linear, s models.Segment, x, y *models.Value) (func(dy, dx kernels.Matrix), []*models.Value) {
	return d.parts.record(p, l, s, x, y)
}

// InputBackward implements models.TrainableInput: x' = f⊙x, so df = Σ dx'⊙x
// and dx = f⊙dx'.
func (d *trainedInput) InputBackward(p *models.Pass, _ *models.Linear, x, dchanged, dx kernels.Matrix) {
	p.ColumnProducts(d.factor.Grad.Data, dchanged, x)
	if dx.Empty() {
		return
	}
	p.ScaleColumns(dchanged, d.inputFactor.linear.scale)
	p.Add(dx, dchanged)
}

// record applies the deltas in their order, then the bias.
func (d *trainedParts) record(p *models.Pass, l *models.Linear, s models.Segment, x, y *models.Value) (func(dy, dx kernels.Matrix), []*models.Value) {
	r := &recording{p, d, l, s, x, y}
	var kept []*models.Value
	var steps []func(dy, dx kernels.Matrix)
	for _, c := range d.deltas {
		back, values := c.(trainable).record(r)
		steps, kept = append(steps, back), append(kept, values...)
	}
	bias := d.bias
	if bias == nil {
		bias = l.Bias
	}
	if len(bias) > 0 {
		p.AddBias(r.out(), bias)
	}
	return func(dy, dx kernels.Matrix) {
		if d.own.Present() && !d.own.Grad.Empty() {
			p.ColumnSums(d.own.Grad.Data, dy)
		}
		if d.added != nil {
			sums := p.New(1, dy.Cols)
			p.Zero(sums.Data)
			p.ColumnSums(sums.Data.Data, dy)
			p.AddScaled(vector(d.added), d.scale, sums.Data)
			p.Free(sums)
		}
		for i := len(steps) - 1; i >= 0; i-- {
			steps[i](dy, dx)
		}
	}, kept
}

// Record implements models.TrainableDelta: the whole product is the
// adapter's. dy ends as zero, since W has no part in it.
func (d *trainedReplacement) Record(p *models.Pass, l *models.Linear, s models.Segment, x, y *models.Value) (func(dy, dx kernels.Matrix), []*models.Value) {
	p.MatMul(y.Data.Span(s.Start, s.End), x.Data.Span(s.Start, s.End), d.weight.Weight)
	back, kept := d.parts.record(p, l, s, x, y)
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

// vector views values as a matrix of one row.
func vector(v []float32) kernels.Matrix { return kernels.MatrixOf(1, len(v), v) }
