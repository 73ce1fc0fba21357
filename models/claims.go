package models

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
)

// weight reads a tensor by transformers' name and claims it.
func (s *Source) weight(name string) (kernels.Weight, error) {
	s.claimed[s.tensors.stored(name)] = true
	return s.tensors.Weight(name)
}

// convolution is weight of a tensor [out, in, width], as [out, in·width].
func (s *Source) convolution(name string, width int) (kernels.Weight, error) {
	s.claimed[s.tensors.stored(name)] = true
	f, ok := s.tensors.(interface {
		Convolution(name string, width int) (kernels.Weight, error)
	})
	if !ok {
		return kernels.Weight{}, fmt.Errorf("tensor %q: convolutions are read from folders alone", name)
	}
	return f.Convolution(name, width)
}

// duplicate claims a copy of the embedding, as which some save the head that is
// tied to it. Another tensor in its place leaves open which of the two is meant.
func (b *layerBuilder) duplicate(name string, embedding kernels.Weight) {
	w, err := b.s.weight(name)
	switch {
	case err != nil:
		b.s.fault("%w", err)
	case w.Rows != embedding.Rows || w.Cols != embedding.Cols || !sameValues(w, embedding):
		b.s.fault("tensor %q is not the input embedding, to which tie_word_embeddings ties it: set that to false, or leave the tensor out", name)
	}
}

// sameValues compares weights of one shape.
func sameValues(a, b kernels.Weight) bool {
	if a.Format == b.Format {
		return bytes.Equal(a.Data, b.Data)
	}
	x, y := make([]float32, a.Cols), make([]float32, b.Cols)
	for i := range a.Rows {
		kernels.Decode(x, a.Format, a.Row(i))
		kernels.Decode(y, b.Format, b.Row(i))
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}

// some lists the first names.
func some(names []string) string {
	const shown = 4
	list := `"` + strings.Join(names[:min(shown, len(names))], `", "`) + `"`
	if len(names) > shown {
		list += fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return list
}

// unclaimed refuses the tensors that the model has not read and that are not
// known to be without effect.
func (s *Source) unclaimed() error {
	if s.shape {
		return nil
	}
	var names, heads []string
	for _, name := range s.tensors.Names() {
		head := s.Architecture.headless
		switch {
		case s.claimed[name] || s.Architecture.stray(name):
		case head != nil && head.MatchString(name):
			heads = append(heads, name)
		default:
			names = append(names, name)
		}
	}
	if len(heads) > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: the head of %s is not read: %s", s.Name, s.class, some(heads)))
	}
	if len(names) == 0 {
		return nil
	}
	list := some(names)
	if switches := slices.Sorted(maps.Keys(s.Architecture.Biases)); len(switches) > 0 && strings.HasSuffix(names[0], ".bias") {
		list += " (whether there are biases is said by " + strings.Join(switches, " and ") + ")"
	}
	return fmt.Errorf("%w: %s: %s with this configuration does not read the tensors %s", ErrSource, s.Name, s.Architecture, list)
}
