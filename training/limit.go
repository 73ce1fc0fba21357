package training

import (
	"fmt"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Plan measures, from the lengths of the data, what the run will need, and
// refuses to start where that is over --memory-limit.
func (r *Run) Plan() error {
	var err error
	switch m := r.Trainer.Method.(type) {
	case *Adapted:
		r.plan, err = r.planAdapter(m)
	case *Blocks:
		r.plan, err = r.planBlocks(m)
	}
	if err != nil {
		return err
	}
	r.observer.Note("plan: %s: model %s, gradients %s, optimizer %s, activations %s", Size(r.plan.Total()), Size(r.plan.Model),
		Size(r.plan.Gradients), Size(r.plan.Optimizer), Size(r.plan.Activations))
	if limit := int(r.MemoryLimit); limit > 0 && r.plan.Total() > limit {
		smaller := fmt.Sprintf("a smaller --batch-size (now %d) with more --grad-accum", r.BatchSize)
		if r.recipe != nil { // texts are compared with those of their micro-batch
			smaller = fmt.Sprintf("a smaller --batch-size (now %d), which compares with fewer texts", r.BatchSize)
		}
		return fmt.Errorf("--memory-limit: the run needs %s, the limit is %s: %s, a smaller --max-length (now %d) or --gradient-checkpointing needs less",
			Size(r.plan.Total()), r.MemoryLimit, smaller, r.MaxLength)
	}
	return nil
}

// planAdapter measures the passes with the adapter that is to be trained.
func (r *Run) planAdapter(m *Adapted) (Account, error) {
	a := Account{Model: r.Base.Model.Config().WeightBytes + m.bytes()}
	a.add(m.Parameters(), r.Trainer.Optimizer)
	defer m.Trainee.LeaveOut(0)
	for below, largest := range r.largest() {
		m.Trainee.LeaveOut(below)
		if err := a.measure(r, r.Base.Model, m, r.Trainer.Objective, largest); err != nil {
			return a, err
		}
	}
	return a, nil
}

// planBlocks takes the largest of every category over the blocks that the run
// will train, with the largest passes that each lowest block will see. The
// blocks are those of a shape, so that nothing is widened yet.
func (r *Run) planBlocks(f *Blocks) (Account, error) {
	shape, err := r.Base.Source.Shape()
	o := r.Trainer.Objective
	if err == nil && r.heads != nil {
		if shape, err = models.WithNewHead(shape, r.heads.Classes, nil); err == nil {
			o.Head, err = shape.Config().Head(r.heads.Task)
		}
	}
	if err != nil {
		return Account{}, err
	}
	seen := map[int]bool{}
	sets := map[int][]int{} // active blocks by the lowest
	for step := range r.steps {
		active := f.Active(step)
		sets[active[0]] = active
		for _, layer := range active {
			seen[layer] = true
		}
	}
	most := Account{Model: r.Base.Model.Config().WeightBytes + f.base.toWiden(slices.Sorted(maps.Keys(seen)), f.Outside)}
	for lowest, largest := range r.largest() {
		active, ok := sets[lowest]
		if !ok {
			continue
		}
		shaped := NewBlocks(shape, f.Outside, func(int) []int { return active })
		shaped.Begin(0)
		var a Account
		a.add(shaped.Parameters(), r.Trainer.Optimizer)
		if err := a.measure(r, shape, shaped, o, largest); err != nil {
			return a, err
		}
		shaped.Release()
		most.Gradients, most.Optimizer = max(most.Gradients, a.Gradients), max(most.Optimizer, a.Optimizer)
		most.Activations = max(most.Activations, a.Activations)
	}
	return most, nil
}

// add counts gradients and the optimizer's state of parameters.
func (a *Account) add(params []*Parameter, o Optimizer) {
	a.Gradients += 4 * count(params)
	for _, p := range params {
		a.Optimizer += 4 * o.Values(p)
	}
}

// measure raises the activations to what the largest of the passes needs.
func (a *Account) measure(r *Run, m models.Model, method Method, o Objective, largest []pass) error {
	for _, p := range largest {
		live, _, err := Measure(m, method, o, r.Checkpointing, p.sizes...)
		if err != nil {
			return err
		}
		a.Activations = max(a.Activations, live.Total()+o.embeddings(m, p.beside))
	}
	return nil
}

// toWiden is the memory, in bytes, of the float32 copies that training those
// blocks will make of stored weights.
func (b *base) toWiden(layers []int, outside bool) int {
	if layers = append(layers, headLayer); outside {
		layers = append(layers, -1)
	}
	n := 0
	for _, layer := range layers {
		for _, t := range b.blocks[layer] {
			if t.Value == nil && (t.weight.Floats() == nil || !b.model.Config().Private) {
				n += 4 * t.Len()
			}
		}
	}
	return n + b.widened()
}

// pass is the sequences of a pass that may need the most memory.
type pass struct {
	sizes                []dataset.Size
	rows, labels, blocks int // in all; blocks of keys and values
	beside               int // texts of the micro-batch that it is compared with
}

// largest is the passes of the run that may need the most memory, by lowest.
func (r *Run) largest() map[int][]pass {
	prefix, virtual := preceding(r.Trainer.Method.Adapter())
	best := map[int][]pass{}
	for step := range r.steps {
		number := firstPass(step)
		for _, s := range r.spans(step) {
			var sizes []dataset.Size
			for n := s.from; n < s.to; n++ {
				sizes = append(sizes, r.order.Sizes(n)...)
			}
			start, texts := 0, len(sizes)
			for _, end := range passes(len(sizes), virtual, func(k int) int { return sizes[k].Rows }) {
				p := pass{sizes: sizes[start:end], beside: texts - (end - start)}
				for ; start < end; start++ {
					p.rows, p.labels = p.rows+sizes[start].Rows, p.labels+sizes[start].Labels
					p.blocks += (prefix + virtual + sizes[start].Rows + kernels.BlockLen - 1) / kernels.BlockLen
				}
				lowest := r.lowest(step, number)
				best[lowest] = outdo(best[lowest], p)
				number++
			}
		}
	}
	return best
}

// lowest is the lowest block that a pass trains, of an adapter the lowest that
// is not left out.
func (r *Run) lowest(step int, pass uint64) int {
	if f, ok := r.Trainer.Method.(*Blocks); ok {
		return f.Active(step)[0]
	}
	return r.Trainer.Method.(*Adapted).Trainee.Dropped(pass)
}

// outdo adds b to passes of which none is at least as large as another in
// every way.
func outdo(all []pass, b pass) []pass {
	covers := func(a, b pass) bool {
		return a.rows >= b.rows && a.labels >= b.labels && a.blocks >= b.blocks && len(a.sizes) >= len(b.sizes) && a.beside+len(a.sizes) >= b.beside+len(b.sizes)
	}
	if slices.ContainsFunc(all, func(a pass) bool { return covers(a, b) }) {
		return all
	}
	return append(slices.DeleteFunc(all, func(a pass) bool { return covers(b, a) }), b)
}
