package training

import (
	"fmt"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/training/plan"
)

// Plan counts, from the base's configuration and the lengths of the data, what
// the run will need, and refuses to start where that is over --memory-limit.
func (r *Run) Plan() error {
	base, err := plan.Open(r.Base.Path)
	if err != nil {
		return err
	}
	optimizer := r.Optimizer
	if optimizer == "sgd" && r.Momentum == 0 {
		optimizer = "none"
	}
	switch m := r.Trainer.Method.(type) {
	case *Adapted:
		t, err := base.TrainAdapter(m.Trainee.Config(), r.Dropout)
		if err != nil {
			return err
		}
		t.Recompute = r.Checkpointing
		r.plan = account(t.Account(plan.Run{Batch: r.largest()[0], Optimizer: optimizer}))
		r.plan.Model = r.Base.Model.Config().WeightBytes + m.bytes() // the adapter is there to be weighed
	case *Blocks:
		r.plan, err = r.planBlocks(base, m, optimizer)
		if err != nil {
			return err
		}
	}
	r.observer.Note("plan: %s: model %s, gradients %s, optimiser %s, activations %s", Size(r.plan.Total()), Size(r.plan.Model),
		Size(r.plan.Gradients), Size(r.plan.Optimizer), Size(r.plan.Activations))
	if limit := int(r.MemoryLimit); limit > 0 && r.plan.Total() > limit {
		return fmt.Errorf("--memory-limit: the run needs %s, the limit is %s: a smaller --batch-size (now %d) with more --grad-accum, a smaller --max-length (now %d) or --gradient-checkpointing needs less",
			Size(r.plan.Total()), r.MemoryLimit, r.BatchSize, r.MaxLength)
	}
	return nil
}

func account(a plan.Account) Account {
	return Account{Model: a.Weights + a.Widened + a.Adapter, Gradients: a.Gradients, Optimizer: a.Optimizer, Activations: a.Pass()}
}

// planBlocks takes the largest of every category over the blocks that the run
// will train, with the largest batch that each lowest block will see.
func (r *Run) planBlocks(base *plan.Base, f *Blocks, optimizer string) (Account, error) {
	whole, err := base.Train(plan.Choice{Method: r.Method, R: r.GaloreRank, LISALayers: r.Gamma, FreezeOutside: r.FreezeOutside})
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
	var most Account
	for lowest, batch := range r.largest() {
		if _, ok := sets[lowest]; !ok {
			continue
		}
		t := whole
		if r.Method == "lisa" || r.Method == "block-wise" {
			t = base.TrainBlocks(sets[lowest], f.Outside)
		}
		t.Recompute = r.Checkpointing
		a := account(t.Account(plan.Run{Batch: batch, Optimizer: optimizer}))
		most.Gradients, most.Optimizer = max(most.Gradients, a.Gradients), max(most.Optimizer, a.Optimizer)
		most.Activations = max(most.Activations, a.Activations)
	}
	all := base.TrainBlocks(slices.Sorted(maps.Keys(seen)), f.Outside)
	most.Model = account(all.Account(plan.Run{Batch: plan.Batch{Sequences: 1, Length: 2}})).Model
	return most, nil
}

// largest is the micro-batch of the run that has the most rows, by the lowest
// block that is trained; an adapter's is under 0.
func (r *Run) largest() map[int]plan.Batch {
	before := 0
	if p, ok := r.Trainer.Method.Adapter().(preceded); ok {
		before = p.PrefixTokens() + p.VirtualTokens()
	}
	best := map[int]plan.Batch{}
	for i := range r.steps * r.GradAccum {
		b := plan.Batch{Sequences: r.BatchSize}
		for k := range r.BatchSize {
			rows, labels := r.order.Size(i*r.BatchSize + k)
			b.Rows, b.Predicting = b.Rows+rows, b.Predicting+labels
			b.Blocks += (before + rows + kernels.BlockLen - 1) / kernels.BlockLen
		}
		lowest := 0
		if f, ok := r.Trainer.Method.(*Blocks); ok {
			lowest = f.Active(i / r.GradAccum)[0]
		}
		if b.Rows > best[lowest].Rows {
			best[lowest] = b
		}
	}
	return best
}
