package main

import (
	"fmt"

	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/merge"
)

// mergeCommand folds an adapter into its base.
type mergeCommand struct {
	Base      string `required:"" help:"A Hugging Face folder or a GGUF file." type:"path"`
	Adapter   string `required:"" help:"A PEFT folder." type:"path"`
	Output    string `required:"" help:"The folder to write or, ending in .gguf, the file." type:"path"`
	DType     string `name:"dtype" help:"f32, f16 or bf16 (default: the base's own; a quantised base needs it)."`
	Untie     bool   `help:"Write tied embeddings apart where the adapter changes only one."`
	Overwrite bool   `help:"Replace what is at --output."`
	JSON      bool   `name:"json" help:"Print JSON."`
	training.BaseConfig
}

// Run merges and says how exact it was.
func (m *mergeCommand) Run(c console) error {
	r, err := merge.Merge(merge.Options{
		Base: m.Base, Adapter: m.Adapter, Output: m.Output, DType: m.DType, Untie: m.Untie, Overwrite: m.Overwrite, Reading: m.Options(),
	})
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		c.note("warning: %s", w)
	}
	if m.JSON {
		return writeJSON(c.out, r)
	}
	_, err = fmt.Fprintf(c.out, "%s: %d of %d tensors changed, %s\n"+
		"rounding the weights lost %.2g of the adapter's change (Frobenius), %.2g at most of one weight\n"+
		"read again, beside base and adapter: a logit differs by %.2g at most, of %.3g\n",
		m.Output, len(r.Changed), r.Tensors, byteSize(float64(r.Bytes)), r.Drift, r.Largest, r.Difference, r.Scale)
	return err
}
