package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/training/extract"
)

// extractCommand makes an adapter of a difference.
type extractCommand struct {
	Base       string  `required:"" help:"The base: a Hugging Face folder or a GGUF file." type:"path"`
	Tuned      string  `required:"" help:"The fine-tuned model." type:"path"`
	Output     string  `required:"" help:"The PEFT folder to write." type:"path"`
	R          int     `default:"16" help:"Rank of every matrix; with --energy, the largest."`
	Energy     float64 `help:"Share of each difference's squared norm to keep, by as small a rank as does (0: --r everywhere)."`
	Embeddings string  `default:"lora" enum:"lora,save,skip" help:"What to do with embeddings that differ: lora, save (whole) or skip."`
	BaseName   string  `help:"base_model_name_or_path of the adapter (default: the base's last name)."`
	JSON       bool    `name:"json" help:"Print JSON."`
}

// Run extracts and says what was lost.
func (e *extractCommand) Run(c console) error {
	r, err := extract.Extract(extract.Options{
		Base: e.Base, Tuned: e.Tuned, Output: e.Output, Rank: e.R, Energy: e.Energy, Embeddings: e.Embeddings, BaseName: e.BaseName,
	})
	if err != nil {
		return err
	}
	if e.JSON {
		return writeJSON(c.out, r)
	}
	t := &table{}
	t.row("layer", "matrices", "ranks", "error")
	for _, layer := range slices.Sorted(maps.Keys(r.Layers)) {
		n, low, high := 0, 0, 0
		for _, m := range r.Modules {
			if m.Layer != layer {
				continue
			}
			if n++; n == 1 || m.Rank < low {
				low = m.Rank
			}
			high = max(high, m.Rank)
		}
		t.row(layerName(layer), fmt.Sprint(n), fmt.Sprintf("%d-%d", low, high), fmt.Sprintf("%.3g", r.Layers[layer]))
	}
	if err := t.write(c.out); err != nil {
		return err
	}
	if len(r.Saved) > 0 {
		c.note("taken over whole: %s", strings.Join(r.Saved, " "))
	}
	if len(r.Left) > 0 {
		c.note("warning: these differ too, and are not in the adapter: %s", strings.Join(r.Left, " "))
	}
	_, err = fmt.Fprintf(c.out, "\n%s: %s parameters, %d biases; error %.3g of the difference (Frobenius)\n"+
		"a logit is off by %.3g at most, the base's by %.3g, of %.3g\n",
		e.Output, grouped(r.Parameters), r.Biases, r.Error, r.Difference, r.Before, r.Scale)
	return err
}
