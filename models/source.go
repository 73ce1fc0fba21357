package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Source is a base model on disk: its configuration and its tensors, mapped,
// under transformers' names.
type Source struct {
	Name         string // the folder or file, for messages
	Architecture string // transformers' class
	// GGUF is set when the source is a GGUF file, whose metadata also holds
	// the tokenizer.
	GGUF *gguf.File

	private bool   // the tensors can be written to
	config  []byte // config.json
	tensors tensors
	sites   Sites
	faults  []error
	bytes   map[kernels.Format]int
	values  int
}

// tensors finds a weight by transformers' name; a vector is one row.
type tensors interface {
	Has(name string) bool
	Weight(name string) (kernels.Weight, error)
	Close() error
}

// ErrSource reports a base that cannot be read: wrapped with the file, and the
// tensor or key, at fault.
var ErrSource = errors.New("base model cannot be read")

// OpenSource opens a Hugging Face folder or a GGUF file.
func OpenSource(path string) (*Source, error) { return openSource(path, false) }

func openSource(path string, private bool) (*Source, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	var s *Source
	if stat.IsDir() {
		s, err = openFolder(path, private)
	} else {
		s, err = openGGUF(path, private)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	s.private = private
	s.bytes = map[kernels.Format]int{}
	return s, nil
}

// Close unmaps the tensors: the model built from them is gone too.
func (s *Source) Close() error { return s.tensors.Close() }

// Unmarshal reads the configuration into v.
func (s *Source) Unmarshal(v any) error {
	if err := json.Unmarshal(s.config, v); err != nil {
		return fmt.Errorf("%w: %s: config.json: %w", ErrSource, s.Name, err)
	}
	return nil
}

// Has reports whether there is a tensor of that name.
func (s *Source) Has(name string) bool { return s.tensors.Has(name) }

func openFolder(dir string, private bool) (*Source, error) {
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	var head struct {
		Architectures []string `json:"architectures"`
		Quantization  *struct {
			Method string `json:"quant_method"`
		} `json:"quantization_config"`
	}
	if err := json.Unmarshal(config, &head); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "config.json"), err)
	}
	if len(head.Architectures) == 0 {
		return nil, fmt.Errorf("%s: architectures is missing", filepath.Join(dir, "config.json"))
	}
	if head.Quantization != nil {
		return nil, fmt.Errorf("%s: quantization_config %q is not implemented: use the unquantised model or a GGUF", dir, head.Quantization.Method)
	}
	open := safetensors.OpenFolder
	if private {
		open = safetensors.OpenFolderPrivate
	}
	file, err := open(dir)
	if err != nil {
		return nil, err
	}
	return &Source{Name: dir, Architecture: head.Architectures[0], config: config, tensors: folder{file}}, nil
}

// folder reads tensors of a Hugging Face folder.
type folder struct{ *safetensors.File }

func (f folder) Has(name string) bool {
	_, ok := f.Lookup(f.stored(name))
	return ok
}

// stored is the name a tensor has in the file: some checkpoints were saved
// from the bare model, without the causal model's prefix.
func (f folder) stored(name string) string {
	if _, ok := f.Lookup(name); ok {
		return name
	}
	for _, prefix := range []string{"model.", "transformer."} {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			if _, ok := f.Lookup(name[len(prefix):]); ok {
				return name[len(prefix):]
			}
		}
	}
	return name
}

func (f folder) Weight(name string) (kernels.Weight, error) {
	t, err := f.Tensor(f.stored(name))
	if err != nil {
		return kernels.Weight{}, err
	}
	return t.Weight()
}

// Open opens the base at path and builds its model. The Source stays open as
// long as the model is used.
func Open(path string, o Options) (Model, *Source, error) {
	s, err := openSource(path, o.Private)
	if err != nil {
		return nil, nil, err
	}
	m, err := New(s, o)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return m, s, nil
}
