package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// norm is an adapter's norm in a base's place.
type norm struct {
	base         *models.Norm
	weight, bias *Param // nil: the base's
	norm         models.Norm
}

func (d *norm) refresh(b *Builder) func() {
	d.norm = *d.base
	var weight, bias bool
	if d.weight != nil {
		d.norm.Weight, weight = b.widened(d.weight)
	}
	if d.bias != nil {
		d.norm.Bias, bias = b.widened(d.bias)
	}
	b.OnTrain(func() { d.norm.WeightGrad, d.norm.BiasGrad = d.weight.vectorGrad(), d.bias.vectorGrad() })
	return func() {
		if weight {
			kernels.Decode(d.norm.Weight, d.weight.Weight.Format, d.weight.Weight.Data)
		}
		if bias {
			kernels.Decode(d.norm.Bias, d.bias.Weight.Format, d.bias.Weight.Data)
		}
	}
}
