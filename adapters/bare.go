package adapters

import (
	"strings"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// bare is the model under the names by which the tensors of a file call its
// modules: PEFT writes those of the class that was trained, which of an encoder is
// one with a head ("bert.encoder.layer.0…") or the one without ("encoder.layer.0…").
// Names of neither stay for who refuses them.
func bare(m models.Model, c *Config, tensors map[string]safetensors.Tensor) models.Model {
	for name := range tensors {
		if module, ok := strings.CutPrefix(name, c.NamePrefix()); ok {
			if _, prefixed := m.Config().Architecture.Without(module); prefixed {
				return m
			}
		}
	}
	return models.Bare(m)
}
