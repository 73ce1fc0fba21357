package training

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Sequence is one example as the model sees it.
type Sequence = dataset.Sequence

// Method decides what is trained.
type Method interface {
	// Begin prepares a step, counted from 0. It returns the parameters that it
	// has frozen, whose optimizer state goes.
	Begin(step int) (frozen []*Parameter)
	// Parameters lists those that carry gradients now, always in one order.
	Parameters() []*Parameter
	// Updated follows the optimizer's step: what is derived from the
	// parameters is made anew.
	Updated()
	// Adapter is what every row is computed with; nil: the base alone.
	Adapter() models.Adapter
}

// Trainer turns batches of sequences into steps of an optimizer.
type Trainer struct {
	Model     models.Model
	Method    Method
	Optimizer Optimizer
	Grouping  Grouping
	Schedule  Schedule
	Objective Objective
	Rate      float64 // the peak learning rate
	Clip      float64 // the largest gradient norm; 0: any

	// BeforeUpdate, if it is set, is called with what a step has measured of
	// the parameters, before it changes them.
	BeforeUpdate func(r Result) error

	Step int // steps done

	pool   *kernels.Pool
	pass   *models.Pass
	passes int // done
	batch  rows
}

// collectAfter is how many passes' closures are left to lie until they are
// collected. By itself the collector would wait until they weigh as much as
// model, gradients and activations together.
const collectAfter = 16

// drawing is a Method that draws something anew for each pass.
type drawing interface{ Draw(pass uint64) }

// Result is what a step measured.
type Result struct {
	Loss   float64 // mean over the labels, or what they weigh, before the step
	Norm   float64 // of the gradient, before clipping
	Labels int
	Tokens int
}

// NewTrainer returns a Trainer that computes on pool.
func NewTrainer(pool *kernels.Pool, m models.Model, method Method) *Trainer {
	return &Trainer{Model: m, Method: method, pool: pool, pass: models.NewPass(pool)}
}

// Advance takes one step on micro-batches, whose gradients are summed: the
// loss is the mean over the labels of all of them.
func (t *Trainer) Advance(micro [][]Sequence) (Result, error) {
	for _, p := range t.Method.Begin(t.Step) {
		t.Optimizer.Forget(p)
	}
	r, err := t.Gradients(micro)
	if err != nil {
		return r, err
	}
	params := t.Method.Parameters()
	r.Norm = gradientNorm(t.pool, params)
	if r.Norm-r.Norm != 0 || r.Loss-r.Loss != 0 {
		return r, fmt.Errorf("step %d: the gradient's norm is %v, the loss %v: %w", t.Step+1, r.Norm, r.Loss, ErrDiverged)
	}
	if t.BeforeUpdate != nil {
		if err := t.BeforeUpdate(r); err != nil {
			return r, err
		}
	}
	rates, decays := t.rates(params)
	t.Optimizer.Step(t.pool, params, clipScale(r.Norm, t.Clip), rates, decays)
	t.Method.Updated()
	t.Step++
	return r, nil
}

// rates are the learning rates and decays by parameter at this step.
func (t *Trainer) rates(params []*Parameter) (rates, decays []float64) {
	for _, p := range params {
		g := t.Grouping.Of(p)
		rates = append(rates, t.GroupRate(g))
		decays = append(decays, g.Decay)
	}
	return rates, decays
}

// GroupRate is the learning rate of a group at this step.
func (t *Trainer) GroupRate(g Group) float64 {
	peak := t.Rate * g.Factor
	if g.Fixed > 0 {
		peak = g.Fixed
	}
	return peak * t.Schedule.Factor(t.Step)
}

// Gradients sets the gradients of the method's parameters for micro-batches,
// which are computed a pass at a time: see passRows.
func (t *Trainer) Gradients(micro [][]Sequence) (Result, error) {
	var r Result
	weight := 0.0
	for _, batch := range micro {
		for _, s := range batch {
			weight += t.Objective.weight(s)
			r.Labels += s.Labels()
			r.Tokens += len(s.Tokens)
		}
	}
	if r.Labels == 0 {
		return r, fmt.Errorf("step %d: no sequence of the batch has a label", t.Step)
	}
	for _, p := range t.Method.Parameters() {
		clear(p.Grad)
	}
	pass := firstPass(t.Step)
	_, virtual := preceding(t.Method.Adapter())
	for _, batch := range micro {
		ends := passes(len(batch), virtual, func(i int) int { return batch[i].Rows() })
		if t.Objective.Recipe != nil {
			r.Loss += t.compare(batch, ends, pass, 1/weight)
			pass += uint64(len(ends))
			continue
		}
		start := 0
		for _, end := range ends {
			t.record(pass)
			r.Loss += t.forward(batch[start:end], 1/float32(weight))
			t.unwind()
			start = end
			pass++
		}
	}
	r.Loss /= weight
	return r, nil
}

// record begins a pass of the given number.
func (t *Trainer) record(pass uint64) {
	if d, ok := t.Method.(drawing); ok {
		d.Draw(pass)
	}
	t.pass.Record()
}

// unwind computes the gradients of a pass.
func (t *Trainer) unwind() {
	t.pass.Backward()
	if t.passes++; t.passes%collectAfter == 0 {
		goruntime.GC()
	}
}

// firstPass is the number of a step's first pass: what is drawn for a pass is a
// function of its number.
func firstPass(step int) uint64 { return uint64(step) << 16 }

// forward records the sequences of a pass and returns its summed loss.
func (t *Trainer) forward(batch []Sequence, scale float32) float64 {
	t.batch.fill(batch, t.Method.Adapter(), t.Objective.Head)
	h := t.Model.Forward(t.pass, &t.batch.Batch, nil)
	losses := t.Objective.losses(t.pass, t.Model, &t.batch, h, scale)
	t.pass.Free(h)
	return total(losses)
}

func total(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum
}

// Release ends the training and gives back to the system what only a further
// step would need: gradients of the base, the optimizer and the memory of
// activations.
func (t *Trainer) Release() {
	if b, ok := t.Method.(*Blocks); ok {
		b.Release()
	}
	t.Optimizer = nil
	t.pass = models.NewPass(t.pool)
	debug.FreeOSMemory()
}

// Recompute has the forward pass keep one activation a block and compute the
// others a second time: the same bits in less memory.
func (t *Trainer) Recompute(on bool) { t.pass.Recompute(on) }

// Live is the memory of activations in use, and its peak, in bytes.
func (t *Trainer) Live() (now, peak models.Live) { return t.pass.Live() }
