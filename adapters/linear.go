package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// delta changes y, [rows, out], which holds x·Wᵀ without the bias; x is
// [rows, in].
type delta interface {
	apply(w *kernels.Worker, x, y kernels.Matrix)
}

// linear is all that an adapter does at one Linear: a weight in W's place, a
// factor on the input, deltas in their order, a bias.
type linear struct {
	base   *models.Linear
	weight *Param // in W's place; absent: W
	factor *Param // on the input, [1, in]; nil: none
	deltas []delta

	own   *Param            // in the bias's place; nil: the base's
	terms []func([]float32) // what changes the bias
	bias  []float32         // the adapted bias; nil: the base's, if any

	scale []float32 // factor, widened
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

// refresh prepares d and returns what computes its derived state.
func (d *linear) refresh(b *Builder) func() {
	if d.own != nil || len(d.terms) > 0 {
		d.bias = b.Derive(d.weightOr(d.base.W).Rows)
	}
	if d.factor != nil {
		d.scale = b.Derive(d.base.W.Cols)
	}
	return func() {
		if d.factor != nil {
			kernels.Decode(d.scale, d.factor.Weight.Format, d.factor.Weight.Data)
		}
		if d.bias == nil {
			return
		}
		clear(d.bias)
		if d.own != nil {
			kernels.Decode(d.bias, d.own.Weight.Format, d.own.Weight.Data)
		} else {
			copy(d.bias, d.base.Bias)
		}
		for _, term := range d.terms {
			term(d.bias)
		}
	}
}

// Apply implements models.LinearDelta.
func (d *linear) Apply(w *kernels.Worker, l *models.Linear, x, y kernels.Matrix) {
	for _, c := range d.deltas {
		c.apply(w, x, y)
	}
	bias := d.bias
	if bias == nil {
		bias = l.Bias
	}
	if len(bias) > 0 {
		for r := range y.Rows {
			kernels.Add(y.Row(r), bias)
		}
	}
}

// inputFactor is a linear that multiplies its input.
type inputFactor struct{ *linear }

var _ models.InputDelta = (*inputFactor)(nil)

// Input implements models.InputDelta.
func (d *inputFactor) Input(_ *kernels.Worker, _ *models.Linear, x, changed kernels.Matrix) {
	for r := range x.Rows {
		row := changed.Row(r)
		copy(row, x.Row(r))
		kernels.Mul(row, d.scale)
	}
}

// replacement is a linear with a weight of its own: y is the product with that
// when Apply is called.
type replacement struct{ *linear }

var _ models.Replacement = (*replacement)(nil)

// Replaces implements models.Replacement.
func (d *replacement) Replaces() kernels.Weight { return d.weight.Weight }
