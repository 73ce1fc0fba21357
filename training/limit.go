package training

import (
	"fmt"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/plan"
)

// Plan counts, from the base's configuration and the lengths of the data, what
// the run will need, and refuses to start where that is over --memory-limit.
func (r *Run) Plan() error {
	base, err := plan.Open(r.Base.Path, r.Base.Options)
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
		for dropped, largest := range r.largest() {
			for _, pass := range largest {
				a := account(t.Without(dropped).Account(plan.Run{Batch: pass, Optimizer: optimizer}))
				if a.Activations >= r.plan.Activations {
					r.plan = a
				}
			}
		}
		if (r.Start == "pissa" || r.Start == "olora") && r.plan.Gradients > 0 {
			// Of factors from the base half are trained, which no
			// configuration tells.
			trained := 4 * count(m.Parameters())
			r.plan.Optimizer = r.plan.Optimizer / r.plan.Gradients * trained
			r.plan.Gradients = trained
		}
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
// will train, with the largest passes that each lowest block will see.
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
	for lowest, largest := range r.largest() {
		if _, ok := sets[lowest]; !ok {
			continue
		}
		t := whole
		if r.Method == "lisa" || r.Method == "block-wise" {
			t = base.TrainBlocks(sets[lowest], f.Outside)
		}
		t.Recompute = r.Checkpointing
		for _, pass := range largest {
			a := account(t.Account(plan.Run{Batch: pass, Optimizer: optimizer}))
			most.Gradients, most.Optimizer = max(most.Gradients, a.Gradients), max(most.Optimizer, a.Optimizer)
			most.Activations = max(most.Activations, a.Activations)
		}
	}
	all := base.TrainBlocks(slices.Sorted(maps.Keys(seen)), f.Outside)
	most.Model = account(all.Account(plan.Run{Batch: plan.Batch{Sequences: 1, Length: 2}})).Model
	return most, nil
}

// largest is the passes of the run that may need the most memory, by lowest.
func (r *Run) largest() map[int][]plan.Batch {
	prefix, virtual := preceding(r.Trainer.Method.Adapter())
	best := map[int][]plan.Batch{}
	for step := range r.steps {
		pass := firstPass(step)
		for _, s := range r.spans(step) {
			var sizes []dataset.Size
			for n := s.from; n < s.to; n++ {
				sizes = append(sizes, r.order.Sizes(n)...)
			}
			start := 0
			for _, end := range passes(len(sizes), virtual, func(k int) int { return sizes[k].Rows }) {
				b := plan.Batch{Sequences: end - start}
				for ; start < end; start++ {
					b.Rows, b.Predicting = b.Rows+sizes[start].Rows, b.Predicting+sizes[start].Labels
					b.Blocks += (prefix + virtual + sizes[start].Rows + kernels.BlockLen - 1) / kernels.BlockLen
				}
				lowest := r.lowest(step, pass)
				best[lowest] = outdo(best[lowest], b)
				pass++
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
func outdo(all []plan.Batch, b plan.Batch) []plan.Batch {
	covers := func(a, b plan.Batch) bool {
		return a.Rows >= b.Rows && a.Predicting >= b.Predicting && a.Blocks >= b.Blocks && a.Sequences >= b.Sequences
	}
	if slices.ContainsFunc(all, func(a plan.Batch) bool { return covers(a, b) }) {
		return all
	}
	return append(slices.DeleteFunc(all, func(a plan.Batch) bool { return covers(b, a) }), b)
}
