package plan

import (
	"errors"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/training"
)

// Choice is a method and its settings, as peft-train run has them. Zero values
// are the methods' own defaults.
type Choice struct {
	Method string // see training.Methods
	adapters.Choice

	LISALayers    int  // gamma, blocks trained at once; 2
	FreezeOutside bool // lisa, block-wise: embedding, final norm and head too
	GaloreRank    int  // rank of the projected gradients; 128

	Classes int // of the head that an encoder trains too; 0: there is none, and nothing of its passes is known
	// Embeddings are learnt, of pairs of texts that are compared, in the place of all else:
	// a sequence is one of two in a row of a micro-batch.
	Embeddings bool
}

// ErrMethod reports a method that cannot be planned on a base.
var ErrMethod = errors.New("method cannot be planned")

// Methods lists the methods that can be planned, in the order of a table.
func Methods() []string {
	first := []string{"full", "lora", "dora"}
	return append(first, slices.DeleteFunc(training.Methods(), func(m string) bool { return slices.Contains(first, m) })...)
}
