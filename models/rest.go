package models

import (
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
)

// Rest are the tensors of a folder that the model reads and that are of no site, by
// transformers' names: what neither adapters nor training change, such as MPNet's
// biases by distance.
func (s *Source) Rest(sites Sites) map[string]kernels.Weight {
	rest := map[string]kernels.Weight{}
	if s.GGUF != nil || s.tensors == nil {
		return rest
	}
	modules := map[string]bool{}
	for _, site := range sites {
		modules[site.Name] = true
	}
	prefix := s.Architecture.prefix
	for name, w := range s.tensors.weights() {
		if !s.claimed[name] {
			continue
		}
		name = betaGamma.Replace(name)
		if module := name[:max(strings.LastIndexByte(name, '.'), 0)]; modules[module] || modules[prefix+module] {
			continue
		}
		if !strings.HasPrefix(name, prefix) {
			name = prefix + name
		}
		rest[name] = w
	}
	return rest
}

// betaGamma are today's names of what gammaBeta names.
var betaGamma = strings.NewReplacer(".LayerNorm.gamma", ".LayerNorm.weight", ".LayerNorm.beta", ".LayerNorm.bias")
