package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Source is a base model on disk: its configuration and its tensors, mapped,
// under transformers' names.
type Source struct {
	Name         string // the folder or file, for messages
	Architecture *Architecture
	class        string // that the configuration names: the architecture's own, or one of its Heads
	// GGUF is set when the source is a GGUF file, whose metadata also holds
	// the tokenizer.
	GGUF *gguf.File
	// Warnings are what whoever loads the base should be told.
	Warnings []string

	memory  bool   // there is no file: see OpenBytes
	private bool   // the tensors can be written to
	shape   bool   // there are no tensors, only what the configuration says of them
	config  []byte // config.json as it is read
	written []byte // config.json with the keys that are ignored
	tensors tensors
	of      tensors         // of a shape, those of its source; nil: there is only a configuration
	laid    *disk.Mapping   // weights laid out anew: see RoundActivations
	claimed map[string]bool // stored names of the tensors that are read
	factors []float64       // divisors of the rotary frequencies that the configuration cannot say
	sites   Sites
	zeros   []float32         // of a shape's vectors
	forms   map[Task]headForm // of heads, where they follow from the configuration; nil: the architecture's
	faults  []error
	bytes   map[kernels.Format]int
	values  int
}

// tensors finds a weight by transformers' name; a vector is one row.
type tensors interface {
	Has(name string) bool
	Weight(name string) (kernels.Weight, error)
	Names() []string                            // as they are stored
	weights() iter.Seq2[string, kernels.Weight] // by their names as they are stored
	stored(name string) string                  // the stored name of transformers' name
	Close() error
}

// ErrSource reports a base that cannot be read: wrapped with the file, and the
// tensor or key, at fault.
var ErrSource = errors.New("base model cannot be read")

// OpenSource opens a Hugging Face folder or a GGUF file, and refuses a
// configuration that is not understood to the last key.
func OpenSource(path string, o Options) (*Source, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w%s", ErrSource, err, Missing(path))
	}
	if stat.IsDir() {
		if err := NotAdapter(path); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSource, err)
		}
	}
	s := newSource(path, o)
	if stat.IsDir() {
		err = s.openFolder(o)
	} else {
		err = s.openGGUF(o)
	}
	return s.opened(err)
}

func newSource(name string, o Options) *Source {
	return &Source{Name: name, private: o.Private, claimed: map[string]bool{}, bytes: map[kernels.Format]int{}}
}

// opened is s or, closed, why it cannot be read.
func (s *Source) opened(err error) (*Source, error) {
	if err == nil {
		return s, nil
	}
	if s.tensors != nil {
		err = errors.Join(err, s.tensors.Close())
	}
	if !errors.Is(err, ErrSource) {
		err = fmt.Errorf("%w: %w", ErrSource, err)
	}
	return nil, err
}

// Close unmaps the tensors: the model built from them is gone too.
func (s *Source) Close() error {
	err := s.tensors.Close()
	if s.laid != nil {
		err = errors.Join(err, s.laid.Close())
	}
	return err
}

// Unmarshal reads the configuration into v, without the keys that are ignored.
func (s *Source) Unmarshal(v any) error {
	if err := json.Unmarshal(s.config, v); err != nil {
		return fmt.Errorf("%w: %s: %s: %w", ErrSource, s.Name, s.where(), err)
	}
	return nil
}

// writes reports whether the configuration has a key, null aside.
func (s *Source) writes(key string) bool {
	values := map[string]any{}
	return json.Unmarshal(s.config, &values) == nil && values[key] != nil
}

// Has reports whether there is a tensor of that name.
func (s *Source) Has(name string) bool {
	return !s.shape && s.tensors.Has(name)
}

func (s *Source) openFolder(o Options) error {
	config, err := regular.Text(filepath.Join(s.Name, "config.json"), regular.Config)
	if err != nil {
		return err
	}
	if err := s.configure(config, o); err != nil {
		return err
	}
	open := safetensors.OpenFolder
	if s.private {
		open = safetensors.OpenFolderPrivate
	}
	file, err := open(s.Name)
	if err != nil {
		return err
	}
	s.tensors = folder{file, s.Architecture}
	return nil
}

// folder reads tensors of a Hugging Face folder.
type folder struct {
	*safetensors.File
	architecture *Architecture
}

func (f folder) Has(name string) bool {
	_, ok := f.Lookup(f.stored(name))
	return ok
}

// stored is the name a tensor has in the file: some checkpoints were saved
// from the bare model, without the causal model's prefix.
func (f folder) stored(name string) string {
	bare, _ := f.architecture.Without(name)
	for _, n := range [...]string{name, bare, gammaBeta.Replace(name), gammaBeta.Replace(bare)} {
		if _, ok := f.Lookup(n); ok {
			return n
		}
	}
	return name
}

// gammaBeta are the names that BERT's first checkpoints have of the tensors of norms.
var gammaBeta = strings.NewReplacer(".LayerNorm.weight", ".LayerNorm.gamma", ".LayerNorm.bias", ".LayerNorm.beta")

func (f folder) Weight(name string) (kernels.Weight, error) {
	t, err := f.Tensor(f.stored(name))
	if err != nil {
		return kernels.Weight{}, err
	}
	if len(t.Shape) > 2 {
		return kernels.Weight{}, fmt.Errorf("tensor %q has shape %v, where a matrix or a vector belongs", t.Name, t.Shape)
	}
	return t.Weight()
}

func (f folder) Convolution(name string, width int) (kernels.Weight, error) {
	t, err := f.Tensor(f.stored(name))
	if err != nil {
		return kernels.Weight{}, err
	}
	if len(t.Shape) != 3 || t.Shape[2] != width {
		return kernels.Weight{}, fmt.Errorf("tensor %q has shape %v, where a convolution of width %d belongs: [out, in, %[3]d]", t.Name, t.Shape, width)
	}
	return t.Weight()
}

func (f folder) weights() iter.Seq2[string, kernels.Weight] {
	return func(yield func(string, kernels.Weight) bool) {
		for t := range f.All() {
			if w, err := t.Weight(); err == nil && !yield(t.Name, w) {
				return
			}
		}
	}
}

// Open opens the base at path and builds its model. The Source stays open as
// long as the model is used.
func Open(path string, o Options) (Model, *Source, error) {
	s, err := OpenSource(path, o)
	if err != nil {
		return nil, nil, err
	}
	return s.model(o)
}

// model builds the source's model, or closes the source.
func (s *Source) model(o Options) (Model, *Source, error) {
	m, err := New(s, o)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return m, s, nil
}
