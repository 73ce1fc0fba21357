package merge

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// The arithmetic is PEFT's, in float32 and in its order, so that the values are
// PEFT's to the last bit (peft/utils/merge_utils.py).

// term is one adapter's part of a module.
type term struct {
	factors *adapters.Factors
	a, b    []float32
	weight  float64
	scale   float64
	index   int // of the adapter
}

// combine makes one pair of factors of a module's. r is the rank of the result,
// up to which cat fills with zeros.
func (c *Combination) combine(module string, sources []*source, r int) (*adapters.Factors, error) {
	var terms []term
	for i, s := range sources {
		f := s.factors[module]
		if f == nil {
			continue
		}
		t, err := readTerm(s, f)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCombine, s.Dir, err)
		}
		t.index = i
		if len(terms) > 0 {
			if err := c.fits(sources[terms[0].index], s, module); err != nil {
				return nil, err
			}
		}
		terms = append(terms, t)
	}
	var a, b []float32
	in, out := terms[0].factors.A.Shape[1], terms[0].factors.B.Shape[0]
	if c.Kind == "cat" {
		a, b = concatenated(terms, r, in, out)
	} else {
		r = terms[0].factors.Rank()
		a, b = c.mixed(terms)
	}
	made := &adapters.Factors{
		Module: module, Embedding: terms[0].factors.Embedding,
		A: safetensors.FromFloat32s("", []int{r, in}, a), B: safetensors.FromFloat32s("", []int{out, r}, b),
	}
	for _, v := range slices.Concat(a, b) {
		if v-v != 0 {
			return nil, fmt.Errorf("%w: %s: the weighted factors overflow: --weights is too large", ErrNotFinite, module)
		}
	}
	return made, nil
}

// readTerm reads a module's factors and how they are scaled.
func readTerm(s *source, f *adapters.Factors) (t term, err error) {
	t = term{factors: f, weight: s.weight}
	rank, scale, _, err := s.Config.Scaling(f.Module)
	if err != nil {
		return t, err
	}
	if t.scale = scale; rank != f.Rank() {
		return t, fmt.Errorf("%s has rank %d, its configuration says %d", f.Module, f.Rank(), rank)
	}
	if t.a, err = f.A.Float32s(); err != nil {
		return t, err
	}
	if t.b, err = f.B.Float32s(); err != nil {
		return t, err
	}
	for tensor, values := range map[string][]float32{f.A.Name: t.a, f.B.Name: t.b} {
		if slices.ContainsFunc(values, func(v float32) bool { return v-v != 0 }) {
			return t, fmt.Errorf("tensor %q holds a NaN or an infinity", tensor)
		}
	}
	return t, nil
}

// fits demands that two adapters' factors of a module are for the same weight
// and, but for cat, of the same rank.
func (c *Combination) fits(first, s *source, module string) error {
	f, g := first.factors[module], s.factors[module]
	same := f.Embedding == g.Embedding && f.A.Shape[1] == g.A.Shape[1] && f.B.Shape[0] == g.B.Shape[0]
	if !same || c.Kind != "cat" && f.Rank() != g.Rank() {
		return fmt.Errorf("%w: the factors of %s are %v and %v in %s, and %v and %v in %s", ErrCombine, module,
			f.A.Shape, f.B.Shape, first.Dir, g.A.Shape, g.B.Shape, s.Dir)
	}
	return nil
}

// concatenated puts the factors side by side: A, weighted and scaled, below A,
// and B beside B.
func concatenated(terms []term, r, in, out int) (a, b []float32) {
	a, b = make([]float32, r*in), make([]float32, out*r)
	at := 0
	for _, t := range terms {
		rank := t.factors.Rank()
		for i, v := range t.a {
			a[at*in+i] = float32(v*float32(t.weight)) * float32(t.scale)
		}
		for row := range out {
			copy(b[row*r+at:], t.b[row*rank:][:rank])
		}
		at += rank
	}
	return a, b
}

// mixed combines the A and the B each by itself. The root of weight and scale
// goes to either; the sign goes to A.
func (c *Combination) mixed(terms []term) (a, b []float32) {
	var as, bs [][]float32
	var weightsA, weightsB []float32
	for _, t := range terms {
		w := t.weight * t.scale
		root := float32(math.Sqrt(math.Abs(w)))
		weightsB = append(weightsB, root)
		if w < 0 {
			root = -root
		}
		weightsA = append(weightsA, root)
		as = append(as, c.pruned(t.a, t.factors.A.Name, t.index))
		bs = append(bs, c.pruned(t.b, t.factors.B.Name, t.index))
	}
	if c.elects() {
		return c.disjoint(as, weightsA), c.disjoint(bs, weightsB)
	}
	return sum(as, weightsA), sum(bs, weightsB)
}

// sum is the weighted sum of tensors.
func sum(tensors [][]float32, weights []float32) []float32 {
	out := make([]float32, len(tensors[0]))
	for k, v := range tensors {
		for i := range out {
			out[i] += float32(v[i] * weights[k])
		}
	}
	return out
}

// disjoint is, element by element, the weighted mean of the values that have
// the elected sign (Yadav et al., "TIES-Merging", 2023).
func (c *Combination) disjoint(tensors [][]float32, weights []float32) []float32 {
	out := make([]float32, len(tensors[0]))
	for i := range out {
		var total float32
		for _, v := range tensors {
			if c.MajoritySign == "frequency" {
				total += sign(v[i])
			} else {
				total += v[i]
			}
		}
		elected := float32(1)
		if total < 0 {
			elected = -1
		}
		var mixed, kept float32
		for k, v := range tensors {
			if sign(v[i]) == elected {
				mixed += float32(v[i] * weights[k])
				kept++
			}
		}
		out[i] = mixed / max(kept, 1)
	}
	return out
}

func sign(v float32) float32 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// pruned returns a tensor without the values that the kind drops.
func (c *Combination) pruned(v []float32, name string, adapter int) []float32 {
	switch {
	case !c.prunes() || c.Density == 1:
		return v
	case c.draws():
		return c.dropped(v, name, adapter)
	}
	return c.largest(v)
}

// largest keeps the largest magnitudes; of equal ones, the first.
func (c *Combination) largest(v []float32) []float32 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, k int) int { return -cmp.Compare(math.Abs(float64(v[i])), math.Abs(float64(v[k]))) })
	out := make([]float32, len(v))
	for _, i := range order[:int(c.Density*float64(len(v)))] {
		out[i] = v[i]
	}
	return out
}

// dropped keeps each value with the probability Density, and divides it by that
// (Yu et al., "DARE", 2023). What is kept is a function of the seed, the
// adapter's place, the tensor's name and the value's position.
func (c *Combination) dropped(v []float32, name string, adapter int) []float32 {
	out := make([]float32, len(v))
	random.Named(c.Seed, fmt.Sprintf("dare %d %s", adapter, name)).Mask(out, 0, 1-c.Density)
	for i, keep := range out {
		if keep != 0 {
			out[i] = v[i] / float32(c.Density)
		}
	}
	return out
}
