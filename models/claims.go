package models

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
)

// strays are the tensors that a base may hold and no forward pass reads, each
// with the reason. Whatever is neither here nor read is refused.
var strays = []struct {
	name *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`(^|\.)rotary_emb\.inv_freq$`), "rotary frequencies, which the configuration says"},
	{regexp.MustCompile(`^blk\.\d+\.attn_rot_embd(\.weight)?$`), "rotary frequencies, which the metadata says"},
	{regexp.MustCompile(`^(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)$`), "GPT-2's causal mask"},
}

func stray(name string) bool {
	for _, s := range strays {
		if s.name.MatchString(name) {
			return true
		}
	}
	return false
}

// weight reads a tensor by transformers' name and claims it.
func (s *Source) weight(name string) (kernels.Weight, error) {
	s.claimed[s.tensors.stored(name)] = true
	return s.tensors.Weight(name)
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

// unclaimed refuses the tensors that the model has not read and that are not
// known to be without effect.
func (s *Source) unclaimed() error {
	if s.shape {
		return nil
	}
	var names []string
	for _, name := range s.tensors.Names() {
		if !s.claimed[name] && !stray(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	const shown = 4
	list := `"` + strings.Join(names[:min(shown, len(names))], `", "`) + `"`
	if len(names) > shown {
		list += fmt.Sprintf(" and %d more", len(names)-shown)
	}
	if strings.HasSuffix(names[0], ".bias") {
		list += " (whether there are biases is said by attention_bias and mlp_bias)"
	}
	return fmt.Errorf("%w: %s: %s with this configuration does not read the tensors %s", ErrSource, s.Name, s.Architecture, list)
}
