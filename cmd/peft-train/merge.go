package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/merge"
)

// mergeCommand combines adapters, and folds one into its base.
type mergeCommand struct {
	Base         string    `help:"A Hugging Face folder, a .gguf file or an hf:// URI; without it the combined adapter is written." placeholder:"PATH"`
	Adapter      []string  `required:"" placeholder:"DIR" sep:"none" help:"A PEFT folder; several are combined." type:"path"`
	Output       string    `required:"" help:"The folder to write or, ending in .gguf, the file." type:"path"`
	Combine      string    `placeholder:"KIND" help:"How several LoRAs become one, as PEFT does it: ${kinds}. cat is their weighted sum exactly."`
	Weights      []float64 `placeholder:"W,W" help:"A weight for each --adapter, in their order."`
	Density      float64   `help:"Share of the values that ties, dare_linear, dare_ties and magnitude_prune keep of each factor, up to 1."`
	MajoritySign string    `placeholder:"BY" help:"How ties and dare_ties elect a sign: total (the default) or frequency."`
	Seed         uint64    `help:"Of what dare_linear and dare_ties drop."`
	DType        string    `name:"dtype" help:"f32, f16 or bf16 (default: the base's own; a quantised base needs it)."`
	Untie        bool      `help:"Write tied embeddings apart where the adapter changes only one."`
	Overwrite    bool      `help:"Replace what is at --output."`
	JSON         bool      `name:"json" help:"Print JSON."`
	training.BaseConfig
}

// Run merges and says how exact it was.
func (m *mergeCommand) Run(ctx context.Context, c console) error {
	combination, err := m.combination()
	if err != nil {
		return err
	}
	if m.Base == "" {
		return m.combine(c, *combination)
	}
	base, err := fetchModel(ctx, m.Base, c)
	if err != nil {
		return err
	}
	r, err := merge.Merge(merge.Options{
		Base: base, Adapter: m.Adapter[0], Combination: combination, Output: m.Output, DType: m.DType, Untie: m.Untie, Overwrite: m.Overwrite, Reading: m.Options(),
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

// combination is what the flags say of one; nil: there is a single adapter, to
// be merged as it is.
func (m *mergeCommand) combination() (*merge.Combination, error) {
	type flag struct {
		name string
		set  bool
	}
	is := func(f flag) bool { return f.set }
	ofBase := []flag{{"dtype", m.DType != ""}, {"untie", m.Untie}, {"ignore-config-key", len(m.IgnoreConfigKey) > 0}, {"sliding-window", m.SlidingWindow != nil}}
	if i := slices.IndexFunc(ofBase, is); i >= 0 && m.Base == "" {
		return nil, fmt.Errorf("%w: --%s is about the --base, and there is none", errUsage, ofBase[i].name)
	}
	if m.Base == "" && strings.HasSuffix(m.Output, ".gguf") {
		return nil, fmt.Errorf("%w: --output %s: without --base a PEFT folder is written, which peft-train convert turns into a .gguf", errUsage, m.Output)
	}
	if m.Combine != "" {
		combination := &merge.Combination{
			Adapters: m.Adapter, Weights: m.Weights, Kind: m.Combine, Density: m.Density, MajoritySign: m.MajoritySign, Seed: m.Seed,
		}
		if err := combination.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		return combination, nil
	}
	ofCombination := []flag{{"weights", len(m.Weights) > 0}, {"density", m.Density != 0}, {"majority-sign", m.MajoritySign != ""}, {"seed", m.Seed != 0}}
	if i := slices.IndexFunc(ofCombination, is); i >= 0 {
		return nil, fmt.Errorf("%w: --%s wants a --combine", errUsage, ofCombination[i].name)
	}
	switch {
	case len(m.Adapter) > 1:
		return nil, fmt.Errorf("%w: %d --adapter want a --combine that says how they become one", errUsage, len(m.Adapter))
	case m.Base == "":
		return nil, fmt.Errorf("%w: want a --base to merge the adapter into, or more adapters and --combine", errUsage)
	}
	return nil, nil
}

// combine writes the combined adapter.
func (m *mergeCommand) combine(c console, combination merge.Combination) error {
	r, err := merge.WriteCombined(combination, m.Output, m.Overwrite)
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		c.note("warning: %s", w)
	}
	if m.JSON {
		return writeJSON(c.out, r)
	}
	_, err = fmt.Fprintf(c.out, "%s: %s of %d adapters, rank %d, %d tensors, %s parameters\n",
		m.Output, combination.Kind, len(combination.Adapters), r.Rank, r.Tensors, grouped(r.Parameters))
	return err
}
