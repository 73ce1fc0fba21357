package models

import "github.com/peft-serve/peft-serve/kernels"

// Adapter is what a fine-tune changes of a base model. It answers for each
// site (see Site) that it changes, and nil for the rest. Its methods are
// called in the step loop, from several goroutines at once.
type Adapter interface {
	Linear(site int) LinearDelta
	Norm(site int) *Norm // stands in for the base's norm
	Embedding(site int) EmbeddingDelta
	Sublayer(site int) Insert
	// Prefix is the keys and values that stand before position 0 in a layer,
	// each [virtual tokens, kvHeads*headDim]: prefix tuning. Empty: none.
	Prefix(layer int) (k, v kernels.Matrix)
}

// LinearDelta changes what a Linear makes of its rows.
//
// Rows are independent: Apply is called at once for disjoint bands of the same
// segment, on different workers.
type LinearDelta interface {
	// Apply turns y, which holds x·Wᵀ, [rows, out], into the adapted output,
	// bias included. x is [rows, in].
	Apply(w *kernels.Worker, l *Linear, x, y kernels.Matrix)
}

// InputDelta is a LinearDelta that changes the input before W is applied.
type InputDelta interface {
	LinearDelta
	// Input sets changed, [rows, in], from x; Apply then sees changed.
	Input(w *kernels.Worker, l *Linear, x, changed kernels.Matrix)
}

// Replacement is a LinearDelta with a weight of its own in W's place
// (modules_to_save): Apply sees the product with that one. It may have other
// rows than W in number, as the head of a resized vocabulary has. Where it
// records, y is uninitialised.
type Replacement interface {
	LinearDelta
	Replaces() kernels.Weight
}

// EmbeddingDelta changes the embedding of tokens.
type EmbeddingDelta interface {
	// Apply turns row, the base's embedding of token, into the adapted one.
	// Negative tokens are the adapter's virtual tokens; of these, and of tokens
	// that the base does not have, row is uninitialised.
	Apply(w *kernels.Worker, e *Embedding, token int32, row []float32)
}

// Insert is a module between a sublayer and the residual addition: bottleneck
// adapters.
type Insert interface {
	// Apply turns h, the sublayer's output, [rows, hidden], into what is added
	// to the residual. x is the sublayer's input before its norm, the residual.
	Apply(w *kernels.Worker, x, h kernels.Matrix)
}

// TrainableDelta is a LinearDelta with parameters that carry gradients.
type TrainableDelta interface {
	LinearDelta
	// Record is Apply, with the same bits unless the method draws dropout, for
	// rows [s.Start, s.End) of x and y while the pass records. It returns the
	// backward step and the Values that step reads, a use of each of which
	// passes to the tape.
	//
	// The backward step adds to the parameters' gradients, adds to dx (empty:
	// not wanted) what flows around W, and turns dy into the gradient of x·Wᵀ.
	// Its dy and dx are those of the segment's rows.
	Record(p *Pass, l *Linear, s Segment, x, y *Value) (back func(dy, dx kernels.Matrix), kept []*Value)
}

// TrainableInput is an InputDelta with parameters that carry gradients.
type TrainableInput interface {
	InputDelta
	// InputBackward adds to the parameters' gradients and to dx (empty: not
	// wanted), given the input x and the gradient of what Input made of it.
	InputBackward(p *Pass, l *Linear, x, dchanged, dx kernels.Matrix)
}

// TrainableEmbedding is an EmbeddingDelta with parameters that carry
// gradients.
type TrainableEmbedding interface {
	EmbeddingDelta
	// Backward adds to the parameters' gradients, given the gradients of the
	// embeddings of tokens, [len(tokens), hidden], which it may overwrite where
	// the base's own embedding is not trained.
	Backward(p *Pass, e *Embedding, tokens []int32, dy kernels.Matrix)
}

// TrainableInsert is an Insert with parameters that carry gradients.
type TrainableInsert interface {
	Insert
	// Record is Apply for rows [s.Start, s.End) of x and h while the pass
	// records. The backward step adds to the parameters' gradients, adds to dx
	// (empty: not wanted), and turns dh into the gradient of the sublayer's
	// output. A use of each of the Values it reads passes to the tape.
	Record(p *Pass, s Segment, x, h *Value) (back func(dh, dx kernels.Matrix), kept []*Value)
}
