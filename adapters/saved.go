package adapters

import (
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// modules_to_save: modules that the adapter brings whole, under their plain
// names, in the base's place (PEFT, utils/other.py ModulesToSaveWrapper).

// save puts a module of the adapter's own at every site under a module whose
// name ends in one of modules, with no dot needed before it: "norm" captures
// "input_layernorm" too. With tie, either of two tied embeddings brings both.
func (b *Builder) save(modules []string, tie bool) error {
	used := map[string]bool{}
	for site, s := range b.Sites {
		if s.Kind == models.SublayerSite || s.Kind == models.AbsentSite {
			continue
		}
		for _, m := range modules {
			if captures(m, s.Name) {
				if s.Convolution > 0 {
					return fmt.Errorf("%w: modules_to_save: %q is a convolution, which is not implemented", ErrTarget, s.Name)
				}
				used[m] = true
				b.saveSite(site, "")
			}
		}
	}
	for _, m := range modules {
		if !used[m] && (b.task == "" || !slices.Contains(headModules, m)) {
			return fmt.Errorf("%w: modules_to_save names %q, which the base has not", ErrTarget, m)
		}
		last := m[strings.LastIndexByte(m, '.')+1:]
		if tie && (last == "embed_tokens" || last == "lm_head") {
			if in := b.input(); b.tied(in) >= 0 {
				b.saveSite(in, "")
				b.saveSite(b.tied(in), "")
			}
		}
	}
	return nil
}

// captures reports whether a module or one that holds it ends in suffix.
func captures(suffix, module string) bool {
	for {
		if strings.HasSuffix(module, suffix) {
			return true
		}
		dot := strings.LastIndexByte(module, '.')
		if dot < 0 {
			return false
		}
		module = module[:dot]
	}
}

// saved reports whether save has put a module at the site.
func (b *Builder) saved(site int) bool {
	if d := b.linears[site]; d != nil && d.weight != nil {
		return true
	}
	if d := b.embeddings[site]; d != nil && d.table != nil {
		return true
	}
	return b.norms[site] != nil
}

// saveSite puts a module of the adapter's own at a site, whose tensors have
// wrapper after the module's name.
func (b *Builder) saveSite(site int, wrapper string) {
	if b.saved(site) {
		return
	}
	switch s := b.Sites[site]; s.Kind {
	case models.LinearSite:
		d := b.linear(site)
		d.weight = b.whole(site, wrapper+".weight", s.Linear.W)
		if len(s.Linear.Bias) > 0 || s.Biased {
			d.own = b.standIn(site, wrapper+".bias", s.Linear.Bias)
		}
	case models.EmbeddingSite:
		b.embedding(site).table = b.whole(site, wrapper+".weight", s.Embedding.W)
	case models.NormSite:
		d := b.norm(site)
		d.weight = b.standIn(site, wrapper+".weight", s.Norm.Weight)
		if len(s.Norm.Bias) > 0 {
			d.bias = b.standIn(site, wrapper+".bias", s.Norm.Bias)
		}
	}
}

// whole declares a matrix in a base's weight's place. A Conv1D is [in, out]
// in the file.
func (b *Builder) whole(site int, suffix string, base kernels.Weight) *Param {
	var p *Param
	if b.Sites[site].Conv1D {
		p = b.Transposed(site, suffix, base.Cols, base.Rows)
	} else {
		p = b.Module(site, suffix, b.rows(site, base), base.Cols)
	}
	return b.replaces(p, site, base).as(InPlace)
}

// standIn declares a vector in a base's vector's place.
func (b *Builder) standIn(site int, suffix string, base []float32) *Param {
	n := len(base)
	switch s := b.Sites[site]; {
	case s.Classes:
		n = b.classes
	case s.Open && s.Linear != nil:
		n = s.Linear.W.Rows
	}
	p := b.replaces(b.Module(site, suffix, n), site, kernels.WeightOf(kernels.MatrixOf(1, len(base), base)))
	if strings.HasSuffix(suffix, ".bias") {
		return p.as(Bias)
	}
	return p.as(InPlace)
}

// replaces notes what stands in the base where p is to stand; of a head that has
// none, or other classes, nothing does: its weights begin as transformers draws them.
func (b *Builder) replaces(p *Param, site int, base kernels.Weight) *Param {
	rows, cols := p.dims()
	switch s := b.Sites[site]; {
	case !s.Open && (!s.Classes || base.Rows == rows && base.Cols == cols):
		p.base = base
	case rows > 1 || len(p.Shape) > 1:
		p.starts(func(v kernels.Matrix, d drawn) error {
			const deviation = 0.02 // initializer_range
			d.source.Normal(v.Data, deviation)
			return nil
		})
	}
	return p
}

// wholeEmbeddings accepts the full input and output embeddings, which PEFT
// saves with an adapter that targets one of them or that was made on a
// resized vocabulary (save_embedding_layers): beside a delta as
// base_layer.weight, else under the plain name. Where they equal the base's
// they cost nothing.
func (b *Builder) wholeEmbeddings(adapted map[int]bool) {
	for _, site := range []int{b.input(), b.head()} {
		if site < 0 || b.saved(site) {
			continue
		}
		suffix := ".weight"
		if adapted[site] {
			suffix = baseLayer
		} else if wrapped, ok := b.wrapped[site]; ok {
			suffix = wrapped
		}
		s := b.Sites[site]
		if s.Kind == models.EmbeddingSite {
			p := b.whole(site, suffix, s.Embedding.W)
			p.optional = true
			b.embedding(site).table = p
			continue
		}
		p := b.whole(site, suffix, s.Linear.W)
		p.optional = true
		b.linear(site).weight = p
	}
}

// weightOr returns the weight in W's place, or w.
func (d *linear) weightOr(w kernels.Weight) kernels.Weight {
	if d.weight.replaces() {
		return d.weight.Weight
	}
	return w
}
