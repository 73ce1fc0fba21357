package models

import (
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// OpenBytes builds the model of a configuration, config.json as transformers
// writes it, on the contents of a safetensors file, which it reads where they
// are, at whatever alignment; where it is Private it is written to. name is what
// errors call it.
func OpenBytes(name string, config, weights []byte, o Options) (Model, *Source, error) {
	s := newSource(name, o)
	s.memory = true
	if err := s.configure(config, o); err != nil {
		return nil, nil, err
	}
	file, err := safetensors.Parse(name, weights)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	s.tensors = folder{file, s.Architecture}
	return s.model(o)
}

// OpenGGUFBytes is Open of a GGUF file's contents, with the same checks. They are
// read where they are, at whatever alignment, and stay as they are: what is
// Private is a copy. name is what errors call it.
func OpenGGUFBytes(name string, b []byte, o Options) (Model, *Source, error) {
	if o.Private {
		b = slices.Clone(b)
	}
	s := newSource(name, o)
	f, err := gguf.Parse(name, b)
	if err == nil {
		err = s.readGGUF(f, o)
	}
	if s, err = s.opened(err); err != nil {
		return nil, nil, err
	}
	return s.model(o)
}
