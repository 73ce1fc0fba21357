package models

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// OpenBytes builds the model of a configuration, config.json as transformers
// writes it, on the contents of a safetensors file, which it reads where they
// are, at whatever alignment; where it is Private it is written to. name is what
// errors call it.
func OpenBytes(name string, config, weights []byte, o Options) (Model, *Source, error) {
	s := &Source{Name: name, memory: true, private: o.Private, claimed: map[string]bool{}, bytes: map[kernels.Format]int{}}
	if err := s.configure(config, o); err != nil {
		return nil, nil, err
	}
	file, err := safetensors.Parse(name, weights)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	s.tensors = folder{file, s.Architecture}
	m, err := New(s, o)
	if err != nil {
		return nil, nil, err
	}
	return m, s, nil
}
