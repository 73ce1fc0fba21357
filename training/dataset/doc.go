// Package dataset reads examples from files and makes sequences of them.
//
// A Set is one or more files with a Format that turns a record into text and
// an Encoder that turns text into tokens. Opening it reads every record once:
// a bad row is an error that names file and line, before training starts. Only
// the place and the length of each record are kept, so files may be larger
// than memory; a sequence is made when it is asked for.
//
// The order of an epoch is a function of the seed and the epoch alone.
package dataset

import (
	"slices"

	"github.com/peft-serve/peft-serve/models"
)

// Sequence is one text as the model sees it. Targets[i] is the token, or of a head the
// class, that position i is to predict; negative: none.
type Sequence struct {
	Tokens  []int32
	Targets []int32
	Types   []int32 // of the tokens, where the base has types; nil: all 0
	// Values are what a head's scores are to be, of several labels or a regression; nil:
	// the target is a class.
	Values []float32
	Whole  bool // of a head, or an embedding: no token is left out
	// Of texts whose embeddings are compared: which it is of its example, and the tokens
	// that pooling passes over. Values of the first are how near the second is.
	Text, Passed int
}

// Rows is the number of positions that have to be computed.
func (s Sequence) Rows() int {
	if s.Whole {
		return len(s.Tokens)
	}
	return s.Last() + 1
}

// None is the target of a position that predicts nothing.
const None = -1

// Last is the last position that predicts something; 0 where none does. What
// follows it need not be computed.
func (s Sequence) Last() int {
	for i := len(s.Targets) - 1; i > 0; i-- {
		if s.Targets[i] >= 0 {
			return i
		}
	}
	return 0
}

// Activation is the place from which an adapter of those invocation tokens acts:
// the last in the prompt, as where it is served, or in all of a text without
// one; -1: nowhere.
func (s Sequence) Activation(invocation []int32) int {
	prompt := slices.IndexFunc(s.Targets, func(t int32) bool { return t >= 0 }) + 1
	if s.Whole {
		prompt = len(s.Tokens)
	}
	if at := models.Activation(s.Tokens[:prompt], invocation); at >= 0 {
		return at
	}
	return models.Activation(s.Tokens, invocation)
}

// Labels is the number of positions that predict something.
func (s Sequence) Labels() int {
	n := 0
	for _, t := range s.Targets {
		if t >= 0 {
			n++
		}
	}
	return n
}

// Size is what a sequence costs.
type Size struct {
	Rows   int // positions that are computed
	Labels int // positions that predict
}
