package training

import (
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// base opens the parameters of a base model to training, block by block. A
// frozen block keeps its stored form; a block that becomes active is widened
// to float32, unless that is its stored form and it can be written to where it
// is, and gets gradients that go when it is frozen again. What was trained
// stays in float32: nothing is rounded on the way.
type base struct {
	model  models.Model
	blocks map[int][]*tensor // by layer; -1: embeddings, final norm, output embedding; headLayer
	spare  spare
	mine   map[*tensor]bool // trained once: Value is a copy of our own
	shape  bool             // there are no values: gradients of matrices are shapes
}

// headLayer is where the head of a task is among the blocks: it always trains.
const headLayer = -2

// tensor is a parameter of the base with what binds it to its module.
type tensor struct {
	Parameter
	weight  kernels.Weight // as stored; empty for vectors
	rounded kernels.Weight // as it is saved; empty but in asSaved
	shaped  bool           // the gradient is a shape
	bind    func(t *tensor)
}

func newBase(m models.Model) *base {
	b := &base{model: m, blocks: map[int][]*tensor{}, mine: map[*tensor]bool{}, shape: m.Config().Shape}
	var embedding *tensor
	for i, s := range m.Sites() {
		if i >= models.HeadFrom(m) {
			s.Layer = headLayer
		}
		switch s.Kind {
		case models.EmbeddingSite:
			e := s.Embedding
			t := b.matrix(s, e.W, func(t *tensor) {
				e.W, e.WGrad = t.now(), t.gradient()
			})
			t.Embedding = true
			if embedding == nil {
				embedding = t
			}
		case models.LinearSite:
			l := s.Linear
			if s.Head && m.Config().Tied && embedding != nil {
				own := embedding.bind
				embedding.bind = func(t *tensor) {
					own(t)
					l.W, l.WGrad = t.now(), t.gradient()
				}
				continue
			}
			b.matrix(s, l.W, func(t *tensor) { l.W, l.WGrad = t.now(), t.gradient() })
			b.vector(s, ".bias", l.Bias, func(t *tensor) { l.BiasGrad = t.Grad })
		case models.NormSite:
			n := s.Norm
			b.vector(s, ".weight", n.Weight, func(t *tensor) { n.WeightGrad = t.Grad })
			b.vector(s, ".bias", n.Bias, func(t *tensor) { n.BiasGrad = t.Grad })
		}
	}
	return b
}

func (b *base) matrix(s models.Site, w kernels.Weight, bind func(*tensor)) *tensor {
	t := &tensor{Parameter: Parameter{Name: s.Name + ".weight", Shape: []int{w.Rows, w.Cols}, InBlock: s.Layer >= 0}, weight: w, bind: bind}
	switch {
	case s.Conv1D:
		t.Shape, t.Turned = []int{w.Cols, w.Rows}, true
	case s.Convolution > 0:
		t.Shape = []int{w.Rows, w.Cols / s.Convolution, s.Convolution}
	}
	b.blocks[s.Layer] = append(b.blocks[s.Layer], t)
	return t
}

func (b *base) vector(s models.Site, suffix string, v []float32, bind func(*tensor)) {
	if len(v) == 0 {
		return
	}
	t := &tensor{
		Parameter: Parameter{Name: s.Name + suffix, Shape: []int{len(v)}, Value: v, InBlock: s.Layer >= 0, Norm: s.Kind == models.NormSite},
		bind:      bind,
	}
	b.blocks[s.Layer] = append(b.blocks[s.Layer], t)
}

// now is the weight in force: the stored one, a view of the trained values or,
// in asSaved, what is saved of them.
func (t *tensor) now() kernels.Weight {
	if !t.rounded.Empty() {
		return t.rounded
	}
	if t.Value == nil {
		return t.weight
	}
	return kernels.WeightOf(kernels.MatrixOf(t.weight.Rows, t.weight.Cols, t.Value))
}

func (t *tensor) gradient() kernels.Matrix {
	switch {
	case t.shaped:
		return kernels.ShapeOf(t.weight.Rows, t.weight.Cols)
	case len(t.Grad) == 0:
		return kernels.Matrix{}
	}
	return kernels.MatrixOf(t.weight.Rows, t.weight.Cols, t.Grad)
}

// activate gives the parameters of a layer gradients.
func (b *base) activate(layer int) {
	for _, t := range b.blocks[layer] {
		if b.shape && !t.weight.Empty() {
			t.shaped = true
			t.bind(t)
			continue
		}
		b.widen(t)
		t.Grad = b.spare.take(t.Len())
		t.bind(t)
	}
}

// widen gives a matrix float32 values that can be written to.
func (b *base) widen(t *tensor) {
	if t.Value != nil {
		return
	}
	if v := t.weight.Floats(); v != nil && b.model.Config().Private {
		t.Value = v
		return
	}
	t.Value = make([]float32, t.Len())
	t.decode(t.Value)
	b.mine[t] = true
}

// decode sets values to what is stored.
func (t *tensor) decode(values []float32) {
	if t.Value != nil && t.weight.Empty() { // a vector
		copy(values, t.Value)
		return
	}
	kernels.Decode(values, t.weight.Format, t.weight.Data)
}

// asStored sets parameters to what the base's file holds.
func asStored(base *Opened, params []*Parameter) error {
	m, source, err := base.weights(base.Options)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	stored := map[string]*tensor{}
	for _, block := range newBase(m).blocks {
		for _, t := range block {
			stored[t.Name] = t
		}
	}
	for _, p := range params {
		stored[p.Name].decode(p.Value)
	}
	return nil
}

// open widens a frozen parameter, whose values a checkpoint then sets.
func (b *base) open(p *Parameter) {
	for _, block := range b.blocks {
		for _, t := range block {
			if &t.Parameter == p {
				b.widen(t)
				t.bind(t)
			}
		}
	}
}

// tensors lists every tensor, by layer.
func (b *base) tensors() []*tensor {
	var all []*tensor
	for _, layer := range slices.Sorted(maps.Keys(b.blocks)) {
		all = append(all, b.blocks[layer]...)
	}
	return all
}

// all lists every parameter, by layer.
func (b *base) all() []*Parameter {
	var params []*Parameter
	for _, t := range b.tensors() {
		params = append(params, &t.Parameter)
	}
	return params
}

// freeze takes the gradients of a layer back.
func (b *base) freeze(layer int) {
	for _, t := range b.blocks[layer] {
		b.spare.give(t.Grad)
		t.Grad, t.shaped = nil, false
		t.bind(t)
	}
}

// widened is the memory, in bytes, of float32 copies of stored weights.
func (b *base) widened() int {
	n := 0
	for t := range b.mine {
		n += 4 * t.Len()
	}
	return n
}
