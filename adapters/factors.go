package adapters

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// What ends the names of a LoRA's tensors.
const (
	endA          = ".lora_A.weight"
	endB          = ".lora_B.weight"
	endEmbeddingA = ".lora_embedding_A"
	endEmbeddingB = ".lora_embedding_B"
	endMagnitude  = ".lora_magnitude_vector"
)

var factorEnds = []string{endA, endB, endEmbeddingA, endEmbeddingB, endMagnitude}

// Factors are the low-rank factors of one module as a LoRA's file holds them: A
// [r, in], B [out, r]; of an embedding A [r, V], B [d, r].
type Factors struct {
	Module    string
	A, B      safetensors.Tensor
	Magnitude *safetensors.Tensor // DoRA's, [out]; nil: none
	Embedding bool
}

// Rank is r.
func (f *Factors) Rank() int { return f.A.Shape[0] }

// LowRank sorts a LoRA's tensors by modules, in the order of their names; what
// is neither a factor nor a magnitude is returned besides.
func LowRank(tensors []safetensors.Tensor) (all []*Factors, rest []safetensors.Tensor, err error) {
	found := map[string]*Factors{}
	for _, t := range tensors {
		name := strings.TrimPrefix(t.Name, modulePrefix)
		i := slices.IndexFunc(factorEnds, func(end string) bool { return strings.HasSuffix(name, end) })
		if i < 0 {
			rest = append(rest, t)
			continue
		}
		module := strings.TrimSuffix(name, factorEnds[i])
		f := found[module]
		if f == nil {
			f = &Factors{Module: module}
			found[module] = f
		}
		switch factorEnds[i] {
		case endA, endEmbeddingA:
			f.A, f.Embedding = t, factorEnds[i] == endEmbeddingA
		case endB, endEmbeddingB:
			f.B = t
		case endMagnitude:
			f.Magnitude = &t
		}
	}
	for _, module := range slices.Sorted(maps.Keys(found)) {
		f := found[module]
		if len(f.A.Shape) != 2 || len(f.B.Shape) != 2 || f.A.Shape[0] != f.B.Shape[1] {
			return nil, nil, fmt.Errorf("%s has the factors %v and %v", module, f.A.Shape, f.B.Shape)
		}
		all = append(all, f)
	}
	return all, rest, nil
}

// Tensors returns the factors under PEFT's names.
func (f *Factors) Tensors() []safetensors.Tensor {
	a, b := endA, endB
	if f.Embedding {
		a, b = endEmbeddingA, endEmbeddingB
	}
	f.A.Name, f.B.Name = modulePrefix+f.Module+a, modulePrefix+f.Module+b
	all := []safetensors.Tensor{f.A, f.B}
	if f.Magnitude != nil {
		f.Magnitude.Name = modulePrefix + f.Module + endMagnitude
		all = append(all, *f.Magnitude)
	}
	return all
}
