package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Resized vocabularies. Where tokens were added to a base before it was
// trained on, or padding was cut, the file holds the embeddings whole
// (modules_to_save, or PEFT's save_embedding_layers), with the rows of the
// resized base: these are the adapter's vocabulary then, in lookups as in
// logits. Both embeddings have to be there, one where they are tied: PEFT draws
// the rows that it lacks at random.

// baseLayer ends the name of an embedding that a delta wraps.
const baseLayer = ".base_layer.weight"

// resize takes the vocabulary from the embeddings that the file holds.
func (b *Builder) resize(tensors map[string]safetensors.Tensor) error {
	for _, site := range []int{b.input(), b.head()} {
		if site < 0 {
			continue
		}
		for _, suffix := range []string{".weight", baseLayer, ".token_adapter" + baseLayer} {
			name := b.name(site, suffix)
			t, ok := tensors[name]
			if !ok {
				continue
			}
			if len(t.Shape) != 2 || t.Shape[0] == 0 {
				return b.unfit(name, t.Shape, []int{b.vocabulary, b.Model.Config().Hidden})
			}
			if t.Shape[0] != b.vocabulary {
				b.vocabulary, b.resizer = t.Shape[0], name
			}
			return nil
		}
	}
	return nil
}

// rows is the number of rows that a weight at a site has, base being the
// base's: the adapter's vocabulary, where it is an embedding, and its classes where
// it makes their scores.
func (b *Builder) rows(site int, base kernels.Weight) int {
	switch {
	case site == b.input() || b.Sites[site].Head:
		return b.vocabulary
	case b.Sites[site].Classes:
		return b.classes
	}
	return base.Rows
}

// Resized is the error of an adapter whose vocabulary is not the base's, for
// what is not implemented of those. They are served.
func (a *Adapter) Resized(m models.Model) error {
	if own := m.Config().Vocabulary; a.vocabulary != own {
		return fmt.Errorf("%w: its vocabulary has %d tokens, the base's %d: that is implemented for serving alone", ErrBase, a.vocabulary, own)
	}
	return nil
}

// resized demands both embeddings of an adapter with a vocabulary of its own.
func (b *Builder) resized() error {
	if b.resizer == "" {
		return nil
	}
	why := fmt.Sprintf("%s has %d rows, the base's vocabulary %d tokens", b.resizer, b.vocabulary, b.Model.Config().Vocabulary)
	for _, site := range []int{b.input(), b.head()} {
		if site < 0 {
			continue
		}
		var table *Param
		if d := b.embeddings[site]; d != nil {
			table = d.table
		}
		if d := b.linears[site]; d != nil {
			table = d.weight
		}
		if !table.Present() {
			return fmt.Errorf("%w: %s: the file lacks the resized %s: save the adapter with save_embedding_layers=True", ErrTensor, why, b.name(site, ".weight"))
		}
		if l := b.Sites[site].Linear; l != nil && len(l.Bias) > 0 {
			return fmt.Errorf("%w: %s: resizing %s, which has a bias, is not implemented", ErrBase, why, b.Sites[site].Name)
		}
	}
	return nil
}
