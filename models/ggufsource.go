package models

import (
	"encoding/json"
	"fmt"
	"iter"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
)

func (s *Source) openGGUF(o Options) error {
	open := gguf.Open
	if s.private {
		open = gguf.OpenPrivate
	}
	f, err := open(s.Name)
	if err != nil {
		return err
	}
	return s.readGGUF(f, o)
}

// readGGUF reads the configuration and takes over the tensors of f.
func (s *Source) readGGUF(f *gguf.File, o Options) error {
	name, ok := f.String("general.architecture")
	a := ggufNamed(name)
	t := &ggufTensors{File: f, architecture: a}
	if s.private {
		t.turned = map[string]bool{}
	}
	s.GGUF, s.tensors = f, t
	switch {
	case !ok:
		return fmt.Errorf("%s: general.architecture is missing", s.Name)
	case a == nil:
		return fmt.Errorf("%s: %w: %q", s.Name, ErrArchitecture, name)
	}
	k := &ggufKeys{s: s, prefix: name + ".", options: o, read: map[string]bool{}}
	config := k.config(a)
	if err := s.err(); err != nil {
		return err
	}
	t.headDim, _ = config["head_dim"].(int)
	t.experts, _ = config["num_experts"].(int)
	bos, eos := ggufSpecial(f)
	if bos >= 0 {
		config["bos_token_id"] = bos
	}
	if len(eos) > 0 {
		config["eos_token_id"] = eos
	}
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	o.IgnoreConfigKeys = nil // they are the metadata's
	return s.configure(b, o)
}

// ggufTensors reads tensors of a GGUF file under transformers' names.
type ggufTensors struct {
	*gguf.File
	architecture *Architecture
	headDim      int
	experts      int // of a block
	// turned holds the names of tensors whose rows have been put in order
	// where they are; nil where the file cannot be written to.
	turned map[string]bool
}

func (t *ggufTensors) Has(name string) bool {
	_, ok := t.Lookup(t.stored(name))
	return ok
}

func (t *ggufTensors) stored(name string) string { return t.architecture.GGUFName(name) }

func (t *ggufTensors) Names() (names []string) {
	for _, tensor := range t.Tensors() {
		names = append(names, tensor.Name)
	}
	return names
}

func (t *ggufTensors) weights() iter.Seq2[string, kernels.Weight] {
	return func(yield func(string, kernels.Weight) bool) {
		for _, tensor := range t.Tensors() {
			if w, err := tensor.Weight(); err == nil && !yield(tensor.Name, w) {
				return
			}
		}
	}
}

func (t *ggufTensors) Weight(name string) (kernels.Weight, error) {
	w, err := t.File.Weight(t.stored(name))
	if expert, ok := t.architecture.GGUFExpert(name); ok && err == nil {
		return t.expert(t.stored(name), w, expert)
	}
	if err != nil || t.architecture.interleavedHeads(name) == nil {
		return w, err
	}
	if _, suffix := cutSuffix(name); suffix == ".bias" {
		return t.halved(name, w, w.Cols), nil
	}
	return t.halved(name, w, w.Rows), nil
}

// expert is the part of one expert of a tensor that holds those of a block.
func (t *ggufTensors) expert(stored string, w kernels.Weight, expert int) (kernels.Weight, error) {
	tensor, _ := t.Lookup(stored)
	if shape := tensor.Shape(); len(shape) != 3 || shape[0] != t.experts {
		return kernels.Weight{}, fmt.Errorf("tensor %q is %v, not a matrix for each of %d experts", stored, shape, t.experts)
	}
	rows := w.Rows / t.experts
	return w.Span(expert*rows, (expert+1)*rows), nil
}

// halved undoes the permutation of llama.cpp's converter (LlamaModel.permute):
// within each head its rows 2i and 2i+1 are transformers' rows i and i+dim/2.
// n is the number of outputs. It is done in place where the file can be
// written to, so that no weight is held twice.
func (t *ggufTensors) halved(name string, w kernels.Weight, n int) kernels.Weight {
	dim := t.headDim
	if n == 0 || dim == 0 || dim%2 != 0 || n%dim != 0 || t.turned[name] { // another shape is refused later, by name
		return w
	}
	to := w.Data
	if t.turned == nil {
		to = make([]byte, len(w.Data))
	} else {
		t.turned[name] = true
	}
	size := len(w.Data) / n
	head := make([]byte, dim*size)
	for h := range n / dim {
		copy(head, w.Data[h*dim*size:])
		for i := range dim {
			from := 2*(i%(dim/2)) + i/(dim/2)
			copy(to[(h*dim+i)*size:][:size], head[from*size:])
		}
	}
	return kernels.NewWeight(w.Format, w.Rows, w.Cols, to)
}
