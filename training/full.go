package training

import (
	"slices"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/models"
)

// Blocks trains the base itself: always the parameters outside the blocks,
// unless they are to stay frozen, and of the blocks those that Active names
// for a step. It is full fine-tuning, LISA and block-wise training.
type Blocks struct {
	// Active lists the blocks to be trained from this step on, ascending. It
	// is a function of the step alone, so a resumed run draws the same ones.
	Active func(step int) []int
	// Outside trains embeddings, final norm and output embedding too; the head of a task
	// always trains.
	Outside bool

	base    *base
	active  []int
	started bool
	params  []*Parameter
}

// NewBlocks opens the parameters of m.
func NewBlocks(m models.Model, outside bool, active func(step int) []int) *Blocks {
	return &Blocks{Active: active, Outside: outside, base: newBase(m)}
}

// Full is full fine-tuning.
func Full(m models.Model) *Blocks {
	all := make([]int, m.Config().Layers)
	for i := range all {
		all[i] = i
	}
	return NewBlocks(m, true, func(int) []int { return all })
}

// LISA is layer-wise importance sampling (Pan et al., 2024, algorithm 1): the
// embedding and the head train always, and of the blocks gamma drawn without
// replacement every interval steps.
func LISA(m models.Model, gamma, interval int, outside bool, seed uint64) *Blocks {
	layers := m.Config().Layers
	return NewBlocks(m, outside, func(step int) []int {
		drawn := random.New(random.Named(seed, "lisa").Uint64(0), uint64(step/interval)).Permutation(layers)[:min(gamma, layers)]
		slices.Sort(drawn)
		return drawn
	})
}

// Orders lists the orders of block-wise training.
var Orders = []string{"ascending", "descending", "random"}

// Blockwise trains one block at a time for interval steps (BAdam, Luo et al.,
// 2024); random is a new order each time round.
func Blockwise(m models.Model, order string, interval int, outside bool, seed uint64) *Blocks {
	layers := m.Config().Layers
	return NewBlocks(m, outside, func(step int) []int {
		turn := step / interval
		i := turn % layers
		switch order {
		case "descending":
			i = layers - 1 - i
		case "random":
			i = random.New(random.Named(seed, "blockwise").Uint64(0), uint64(turn/layers)).Permutation(layers)[i]
		}
		return []int{i}
	})
}

// Begin implements Method.
func (f *Blocks) Begin(step int) (frozen []*Parameter) {
	wanted := f.Active(step)
	if f.started && slices.Equal(wanted, f.active) {
		return nil
	}
	for _, layer := range f.active {
		if !slices.Contains(wanted, layer) {
			for _, t := range f.base.blocks[layer] {
				frozen = append(frozen, &t.Parameter)
			}
			f.base.freeze(layer)
		}
	}
	for _, layer := range wanted {
		if !slices.Contains(f.active, layer) {
			f.base.activate(layer)
		}
	}
	if !f.started {
		f.base.activate(headLayer)
		if f.Outside {
			f.base.activate(-1)
		}
	}
	f.base.spare.drop()
	f.active, f.started = slices.Clone(wanted), true
	f.params = nil
	f.list(headLayer)
	if f.Outside {
		f.list(-1)
	}
	for _, layer := range f.active {
		f.list(layer)
	}
	return frozen
}

func (f *Blocks) list(layer int) {
	for _, t := range f.base.blocks[layer] {
		f.params = append(f.params, &t.Parameter)
	}
}

// Release freezes everything, at the end of a training.
func (f *Blocks) Release() {
	for _, layer := range append(f.active, -1, headLayer) {
		f.base.freeze(layer)
	}
	f.base.spare.drop()
}

// ActiveBlocks lists the blocks being trained.
func (f *Blocks) ActiveBlocks() []int { return f.active }

// Parameters implements Method.
func (f *Blocks) Parameters() []*Parameter { return f.params }

// Updated implements Method: the base reads its parameters where they are.
func (f *Blocks) Updated() {}

// Adapter implements Method.
func (f *Blocks) Adapter() models.Adapter { return nil }
