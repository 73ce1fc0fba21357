package adapters

import "github.com/peft-serve/peft-serve/models"

// Layout returns the parameters that an adapter of this configuration has on a
// model, with names and shapes and without values. It reads no weight of the
// model, so that a plan can be made from a base's configuration alone.
func Layout(m models.Model, c *Config) ([]*Param, error) {
	b, err := build(m, c)
	if err != nil {
		return nil, err
	}
	var params []*Param
	for _, p := range b.params {
		if !p.optional {
			params = append(params, p)
		}
	}
	return params, nil
}

// Scaling is the rank and the factor on B·A that a LoRA's configuration gives a
// module; false where the configuration is no LoRA's.
func (c *Config) Scaling(module string) (rank int, scale float64, ok bool, err error) {
	l, ok := c.Method.(*lora)
	if !ok {
		return 0, 0, false, nil
	}
	s, err := l.rank(module)
	return s.r, float64(s.s), true, err
}
