package plan

import "github.com/peft-serve/peft-serve/training"

// Run is what the account needs to know of a training run beside its method.
type Run struct {
	Batch
	Optimizer string // "adamw" (also ""), "sgd" with momentum, "none": plain SGD
}

// Account is the memory of a training run by category, in bytes.
type Account struct {
	Weights     int  `json:"weights"`   // the base in its stored form
	Widened     int  `json:"widened"`   // float32 copies of the base's matrices that are trained and stored in another form
	Adapter     int  `json:"adapter"`   // the adapter's own parameters
	Gradients   int  `json:"gradients"` // of the parameters
	Optimizer   int  `json:"optimizer"`
	Activations int  `json:"activations"` // kept for the backward pass, at the peak
	KV          int  `json:"kv"`          // keys and values of the recording pass, at the peak
	Workspace   int  `json:"workspace"`   // gradients of activations, logits, scratch, at the peak
	Measured    bool `json:"-"`           // the activations are known
}

// Total is the sum of all categories.
func (a Account) Total() int {
	return a.Weights + a.Widened + a.Adapter + a.Gradients + a.Optimizer + a.Pass()
}

// Pass is what a recording pass needs: the peak of models.Pass.Live.
func (a Account) Pass() int { return a.Activations + a.KV + a.Workspace }

// Categories lists the names of an Account's parts with their sizes, in order.
func (a Account) Categories() []Category {
	return []Category{
		{"weights", a.Weights}, {"widened", a.Widened}, {"adapter", a.Adapter}, {"gradients", a.Gradients},
		{"optimizer", a.Optimizer}, {"activations", a.Activations}, {"kv", a.KV}, {"workspace", a.Workspace},
	}
}

// Category is a part of an Account.
type Category struct {
	Name  string
	Bytes int
}

// Account adds up the memory of training t. Parameters that are trained are
// float32, and so are their gradients and the optimizer's moments; AdamW keeps
// two, GaLore, for the matrices of the blocks, those of the projected gradient
// and the projection itself (Zhao et al., 2024): r·n twice and m·r for a
// gradient [m, n], m ≤ n.
//
// LISA and block-wise training free gradients and moments of a block that is
// frozen again, but what was trained stays in float32: Widened is that of the
// end, when every block has had its turn. What is stored in float32 is trained
// where it is.
func (t *Trained) Account(run Run) Account {
	a := Account{Weights: t.base.storedBytes(), Widened: 4 * t.widened, Gradients: 4 * t.Parameters()}
	if t.Adapter {
		a.Adapter = 4 * (t.Parameters() + t.frozen)
	}
	optimizer := t.optimizer(run.Optimizer)
	for _, tensor := range t.Tensors {
		a.Optimizer += 4 * optimizer.Values(&training.Parameter{Shape: tensor.Shape, InBlock: tensor.inBlock})
	}
	live, _, ok := t.Measure(run.Batch)
	a.Activations, a.KV, a.Workspace, a.Measured = live.Kept, live.KV, live.Workspace, ok
	return a
}

// optimizer is the one that the run names.
func (t *Trained) optimizer(name string) training.Optimizer {
	switch {
	case t.galore > 0:
		return &training.GaLore{Rank: t.galore}
	case name == "sgd":
		return &training.SGD{Momentum: 1}
	case name == "none":
		return &training.SGD{}
	}
	return &training.AdamW{}
}
