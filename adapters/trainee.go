package adapters

import (
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Training is what an adapter needs to know to be trained.
type Training struct {
	Dropout float64 // on the input of the low-rank and bottleneck modules
	Seed    uint64  // of the dropout masks
	Start   string  // one of Starts, as given to Start; empty: default
	// DrawnLayers leaves the adapter out of the blocks below a number drawn
	// for each pass from [0, DrawnLayers]: AdapterDrop (Rücklé et al., 2021).
	DrawnLayers int
}

// Trainee is an adapter in training: its parameters carry gradients and its
// deltas record. It computes what the Adapter computes, but for dropout.
type Trainee struct {
	*Adapter
	shared *trained
}

var (
	_ models.Adapter         = (*Trainee)(nil)
	_ models.TrainablePrefix = (*Trainee)(nil)
)

// Train gives every parameter of an adapter, made by New or loaded, float32
// values and a gradient. The Adapter is then a Trainee's for good.
func Train(a *Adapter, m models.Model, o Training) *Trainee {
	for _, p := range a.params {
		if p.optional || p.still { // the base's own, saved beside the adapter, or frozen
			continue
		}
		rows, cols := p.dims()
		if m.Config().Shape && rows > 1 { // vectors are asked for their length
			p.Grad = kernels.ShapeOf(rows, cols)
			continue
		}
		if p.Weight.Format != kernels.F32 {
			p.Weight = kernels.WeightOf(p.Weight.Matrix()) // peft's autocast_adapter_dtype
		}
		p.Grad = kernels.NewMatrix(rows, cols)
	}
	for _, open := range a.open {
		open()
	}
	t := &trained{Training: o, source: random.Named(o.Seed, "layers"), sites: m.Sites()}
	for site, s := range t.sites {
		drop := dropout{t, random.Named(o.Seed, a.config.NamePrefix()+s.Name)}
		if d, ok := a.linears[site].(interface{ dropsOut(dropout) }); ok {
			d.dropsOut(drop)
		}
		if in, ok := a.inserts[site].(interface{ dropsOut(dropout) }); ok {
			in.dropsOut(drop)
		}
	}
	return &Trainee{a, t}
}

// Sublayer implements models.Adapter.
func (n *Trainee) Sublayer(site int) models.Insert {
	if layer := n.shared.sites[site].Layer; layer < n.shared.below {
		return nil
	}
	return n.inserts[site]
}

// trained is the state that the parts of an adapter in training share.
type trained struct {
	Training
	source random.Source
	pass   uint64 // counts forward passes: dropout masks are drawn by it
	sites  models.Sites
	below  int // blocks that AdapterDrop leaves out in this pass
}

// Draw begins a pass of the given number: dropout masks and the layers that
// AdapterDrop leaves out are functions of the seed and of it.
func (n *Trainee) Draw(pass uint64) {
	n.shared.pass, n.shared.below = pass, n.Dropped(pass)
}

// LeaveOut leaves the bottlenecks of the blocks below a number out until the
// next Draw.
func (n *Trainee) LeaveOut(below int) { n.shared.below = below }

// Dropped is the number of blocks, from the lowest, that AdapterDrop leaves out
// in a pass.
func (n *Trainee) Dropped(pass uint64) int {
	if n.shared.DrawnLayers == 0 {
		return 0
	}
	return n.shared.source.Below(pass, n.shared.DrawnLayers+1)
}

// PrefixGrad implements models.TrainablePrefix.
func (n *Trainee) PrefixGrad(layer int) (dk, dv kernels.Matrix) {
	if len(n.prefixes) == 0 {
		return dk, dv
	}
	p, d := n.prefix, n.prefixes[layer].k.Cols
	return p.Grad.Columns(2*layer*d, (2*layer+1)*d), p.Grad.Columns((2*layer+1)*d, (2*layer+2)*d)
}

// dropout is the mask of one module's input, made from its position alone: the
// backward pass makes it again.
type dropout struct {
	t      *trained
	source random.Source
}

func (d *dropout) on() bool { return d.t != nil && d.t.Dropout > 0 }

// apply sets dst, rows from row on of a module's input, to x under the mask.
// dst may be x.
func (d *dropout) apply(p *models.Pass, dst, x kernels.Matrix, row int) {
	p.Dropout(dst, x, d, d.t.pass<<36+uint64(row*x.Cols))
}

// Mask implements kernels.Mask.
func (d *dropout) Mask(dst []float32, first uint64) { d.source.Mask(dst, first, d.t.Dropout) }
