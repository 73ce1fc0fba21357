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
