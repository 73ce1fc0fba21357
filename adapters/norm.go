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
	if d.weight != nil {
		d.norm.Weight = b.Derive(len(d.base.Weight))
	}
	if d.bias != nil {
		d.norm.Bias = b.Derive(len(d.base.Weight))
	}
	b.OnTrain(func() { d.norm.WeightGrad, d.norm.BiasGrad = d.weight.vectorGrad(), d.bias.vectorGrad() })
	return func() {
		if d.weight != nil {
			kernels.Decode(d.norm.Weight, d.weight.Weight.Format, d.weight.Weight.Data)
		}
		if d.bias != nil {
			kernels.Decode(d.norm.Bias, d.bias.Weight.Format, d.bias.Weight.Data)
		}
	}
}
