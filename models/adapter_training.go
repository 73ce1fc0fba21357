package models

import "github.com/peft-serve/peft-serve/kernels"

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
