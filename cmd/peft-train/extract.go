package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/extract"
)

// extractCommand makes an adapter of a difference.
type extractCommand struct {
	Base       string  `required:"" help:"The base: a Hugging Face folder, a .gguf file or an hf:// URI." placeholder:"PATH"`
	Tuned      string  `required:"" help:"The fine-tuned model, likewise." placeholder:"PATH"`
	Output     string  `required:"" help:"The PEFT folder to write." type:"path"`
	R          int     `default:"16" help:"Rank of every matrix; with --energy, the largest."`
	Energy     float64 `help:"Share of each difference's squared norm to keep, by as small a rank as does (0: --r everywhere)."`
	Embeddings string  `default:"lora" enum:"lora,save,skip" help:"What to do with embeddings that differ: lora, save (whole) or skip."`
	BaseName   string  `help:"base_model_name_or_path of the adapter (default: the name that the base gives itself)."`
	JSON       bool    `name:"json" help:"Print JSON."`
	training.BaseConfig
}

// Run extracts and says what was lost.
func (e *extractCommand) Run(ctx context.Context, c console) error {
	if models.IsPath(e.BaseName) {
		return fmt.Errorf("%w: --base-name: %q is a path: want a name that others know the base by, such as owner/name", errUsage, e.BaseName)
	}
	base, err := fetchModel(ctx, e.Base, c)
	if err != nil {
		return err
	}
	tuned, err := fetchModel(ctx, e.Tuned, c)
	if err != nil {
		return err
	}
	show := newProgress(c.err)
	r, err := extract.Extract(extract.Options{
		Base: base, Tuned: tuned, Progress: show.module, Output: e.Output, Rank: e.R, Energy: e.Energy, Embeddings: e.Embeddings, BaseName: e.BaseName, Reading: e.Options(),
	})
	show.end()
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
		c.note("taken over whole: %s", alike(r.Saved))
	}
	if r.BaseName == "" {
		c.note("warning: the base says no name of its own: base_model_name_or_path is null; --base-name gives it one")
	}
	if len(r.Left) > 0 {
		c.note("warning: these differ too, and are not in the adapter: %s", alike(r.Left))
	}
	_, err = fmt.Fprintf(c.out, "\n%s: %s parameters, %d biases; error %.3g of the difference (Frobenius)\n"+
		"a logit is off by %.3g at most, the base's by %.3g, of %.3g\n",
		e.Output, grouped(r.Parameters), r.Biases, r.Error, r.Difference, r.Before, r.Scale)
	return err
}

var number = regexp.MustCompile(`\b[0-9]+\b`)

// alike lists names that differ in a number alone, as the blocks' modules do,
// as one.
func alike(names []string) string {
	var kinds []string
	like := map[string][]string{}
	for _, name := range names {
		kind := number.ReplaceAllString(name, "*")
		if like[kind] = append(like[kind], name); len(like[kind]) == 1 {
			kinds = append(kinds, kind)
		}
	}
	for i, kind := range kinds {
		if n := len(like[kind]); n > 1 {
			kinds[i] = fmt.Sprintf("%s (%d)", kind, n)
		} else {
			kinds[i] = like[kind][0]
		}
	}
	return strings.Join(kinds, ", ")
}
