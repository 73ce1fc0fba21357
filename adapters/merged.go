package adapters

import (
	"errors"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// ErrMerge: the adapter does what no weight of the base can hold.
var ErrMerge = errors.New("adapter cannot be merged")

// Merged is a tensor of the base as an adapter changes it. Rows are outputs of
// a Linear and tokens of an Embedding, whatever the file's layout; a vector is
// one row.
type Merged struct {
	Site       int
	Suffix     string // ".weight" or ".bias"
	Rows, Cols int
	// Row sets dst, Cols values, to row i in float64: the stored values are
	// widened and nothing is rounded. It may be called from several goroutines.
	Row func(dst []float64, i int)
}

// folding is a delta that is a change of W's rows; each family says in its own
// file how.
type folding interface {
	// fold returns what turns row j of W into the adapted one.
	fold() func(row []float64, j int)
}

// Merge returns the tensors of m that the adapter changes, in the order of the
// sites. Methods that act on activations, or before the first token, are
// refused by name.
func (a *Adapter) Merge(m models.Model) ([]Merged, error) {
	switch {
	case len(a.prefixes) > 0, a.virtual > 0:
		return nil, fmt.Errorf("%w: %s stands before the first token", ErrMerge, a.Method())
	case len(a.invocation) > 0:
		return nil, fmt.Errorf("%w: %s acts from its invocation tokens on", ErrMerge, a.Method())
	case slices.ContainsFunc(a.inserts, func(in models.Insert) bool { return in != nil }):
		return nil, fmt.Errorf("%w: %s puts layers of its own between the base's", ErrMerge, a.Method())
	}
	if err := a.Resized(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMerge, err)
	}
	var all []Merged
	for site, s := range m.Sites() {
		var err error
		switch s.Kind {
		case models.LinearSite:
			all, err = a.mergeLinear(all, site, s)
		case models.NormSite:
			if n := a.norms[site]; n != nil {
				all = append(all, vectorOf(site, ".weight", n.Weight))
				if len(n.Bias) > 0 {
					all = append(all, vectorOf(site, ".bias", n.Bias))
				}
			}
		case models.EmbeddingSite:
			if d, ok := a.embeddings[site].(*embedding); ok {
				all = append(all, d.merge(site))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (a *Adapter) mergeLinear(all []Merged, site int, s models.Site) ([]Merged, error) {
	own, ok := a.linears[site].(interface{ whole() *linear })
	if !ok {
		return all, nil
	}
	d := own.whole()
	if d.weight.replaces() || d.factor != nil || len(d.deltas) > 0 {
		merged, err := d.merge(site)
		if err != nil {
			return nil, fmt.Errorf("%w: %s at %s", err, a.Method(), s.Name)
		}
		all = append(all, merged)
	}
	if d.bias != nil {
		all = append(all, vectorOf(site, ".bias", d.bias))
	}
	return all, nil
}

// merge folds the deltas, in their order, and then the factor on the input,
// y = W(f⊙x), into W.
func (d *linear) merge(site int) (Merged, error) {
	w := d.weightOr(d.base.W)
	var folds []func(row []float64, j int)
	for _, c := range d.deltas {
		f, ok := c.(folding)
		if !ok {
			return Merged{}, ErrMerge
		}
		folds = append(folds, f.fold())
	}
	if d.factor != nil {
		folds = append(folds, func(row []float64, _ int) {
			for i, f := range d.scale {
				row[i] *= float64(f)
			}
		})
	}
	return Merged{site, ".weight", w.Rows, w.Cols, func(dst []float64, i int) {
		wideRow(dst, w, i)
		for _, f := range folds {
			f(dst, i)
		}
	}}, nil
}

func vectorOf(site int, suffix string, v []float32) Merged {
	return Merged{site, suffix, 1, len(v), func(dst []float64, _ int) {
		for i, x := range v {
			dst[i] = float64(x)
		}
	}}
}

// wideRow decodes a row of w into float64.
func wideRow(dst []float64, w kernels.Weight, i int) {
	narrow := make([]float32, w.Cols)
	decodeRow(narrow, w, i)
	for j, v := range narrow {
		dst[j] = float64(v)
	}
}

func addScaled(dst []float64, f float64, x []float32) {
	for i, v := range x {
		dst[i] += f * float64(v)
	}
}
