package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Training is what an adapter needs to know to be trained.
type Training struct {
	Dropout float64 // on the input of the low-rank and bottleneck modules
	Seed    uint64  // of the dropout masks
	// DrawnLayers leaves the adapter out of the blocks below a number drawn
	// for each pass from [0, DrawnLayers]: AdapterDrop (Rücklé et al., 2021).
	DrawnLayers int
}

// Train gives every parameter of an adapter that New has made a gradient, and
// has its deltas record.
func (a *Adapter) Train(m models.Model, o Training) error {
	t := &trained{Training: o, source: random.Named(o.Seed, "layers"), sites: m.Sites(), params: map[string]*Param{}}
	for _, p := range a.params {
		if p.Weight.Format != kernels.F32 {
			return fmt.Errorf("%w: %q is %s, training needs F32", ErrTensor, p.Name, p.Weight.Format)
		}
		rows, cols := p.dims()
		p.Grad = kernels.NewMatrix(rows, cols)
		t.params[p.Name] = p
	}
	for site, s := range t.sites {
		name := namePrefix + s.Name
		switch d := a.linears[site].(type) {
		case *linear:
			a.linears[site] = &trainedLinear{t.linear(d, name), d}
		case *inputFactor:
			a.linears[site] = &trainedInput{t.linear(d.linear, name), d}
		case *replacement:
			a.linears[site] = &trainedReplacement{t.linear(d.linear, name), d}
		}
		if n := a.norms[site]; n != nil {
			n.WeightGrad, n.BiasGrad = t.gradient(name+".weight"), t.gradient(name+".bias")
			if n.WeightGrad == nil && n.BiasGrad != nil {
				n.WeightGrad = make([]float32, len(n.Weight)) // the two come together
			}
		}
		if in, ok := a.inserts[site].(*insert); ok {
			a.inserts[site] = t.insert(in, s, name)
		}
	}
	a.train = t
	return nil
}

// trained is the state that the parts of an adapter in training share.
type trained struct {
	Training
	source random.Source
	pass   uint64 // counts forward passes: dropout masks are drawn by it
	sites  models.Sites
	params map[string]*Param
	below  int // blocks that AdapterDrop leaves out in this pass
}

// gradient is that of a vector, by its name; nil: there is none.
func (t *trained) gradient(name string) []float32 {
	if p := t.params[name]; p.Present() {
		return p.Grad.Data
	}
	return nil
}

// Draw begins a pass of the given number: dropout masks and the layers that
// AdapterDrop leaves out are functions of the seed and of it.
func (a *Adapter) Draw(pass uint64) {
	t := a.train
	t.pass = pass
	if t.DrawnLayers > 0 {
		t.below = t.source.Below(pass, t.DrawnLayers+1)
	}
}

// PrefixGrad implements models.TrainablePrefix.
func (a *Adapter) PrefixGrad(layer int) (dk, dv kernels.Matrix) {
	if len(a.prefixes) == 0 || a.train == nil {
		return dk, dv
	}
	p, d := a.train.params[promptTensor], a.prefixes[layer].k.Cols
	return p.Grad.Columns(2*layer*d, (2*layer+1)*d), p.Grad.Columns((2*layer+1)*d, (2*layer+2)*d)
}

// dropout is the mask of one module's input, made from its position alone: the
// backward pass makes it again.
type dropout struct {
	t      *trained
	source random.Source
}

func (d *dropout) on() bool { return d.t.Dropout > 0 }

// apply sets dst, rows from row on of a module's input, to x under the mask.
// dst may be x.
func (d *dropout) apply(p *models.Pass, dst, x kernels.Matrix, row int) {
	p.Pool.Run(x.Rows, rowTask(func(w *kernels.Worker, r int) {
		mask := w.Scratch(x.Cols)
		d.source.Mask(mask, d.t.pass<<36+uint64((row+r)*x.Cols), d.t.Dropout)
		out := dst.Row(r)
		for i, v := range x.Row(r) {
			out[i] = v * mask[i]
		}
	}))
}

// rowTask runs a function for each row.
type rowTask func(w *kernels.Worker, r int)

func (f rowTask) Part(w *kernels.Worker, r int) { f(w, r) }
