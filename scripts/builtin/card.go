package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/peft-serve/peft-serve/builtin"
)

// family is how a result's adapter is made, for people.
func (r result) family() string {
	if r.rank > 0 {
		return fmt.Sprintf("%s, the whole model, extracted at rank %d", r.method, r.rank)
	}
	return r.method
}

// score is what a model scores on what was held out.
func (r result) score(of map[string]float64) string {
	if r.answer > 0 {
		return fmt.Sprintf("%.1f %%", 100*of["exact_match"])
	}
	return fmt.Sprintf("perplexity %.2f", of["perplexity"])
}

// card is the README.md of an adapter.
func (r result) card() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nAn adapter for the base that is built in (%s): it %s. Made by `examples/base/%[1]s.yaml`.\n\n", r.name, builtin.Name, r.says)
	fmt.Fprintf(&b, "| | |\n|---|---|\n| Method | %s |\n| Data and terms | %s |\n", r.family(), r.terms)
	fmt.Fprintf(&b, "| Held out, the base alone | %s, loss %.4f |\n", r.score(r.alone), r.alone["loss"])
	fmt.Fprintf(&b, "| Held out, with the adapter | %s, loss %.4f |\n\n", r.score(r.scores), r.scores["loss"])
	fmt.Fprintf(&b, "```\n%s\n```\n", prompt(r.example))
	return b.String()
}

// card is the README.md of all.
func (m *maker) card(results []result) (string, error) {
	stat, err := os.Stat(m.gguf())
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What is built in\n\n")
	fmt.Fprintf(&b, "A base, `base.gguf` (%s in Q8_0), and %d adapters on it, in `peft-serve` and `peft-train` themselves. The base was made by this project's own tools of public-domain books alone ([its card](BASE.md)); each adapter by a recipe of [examples/base](../examples/base/README.md). Weights are committed for this one purpose: that a swap can be seen without a download. `make builtin` makes this folder anew.\n\n", megabytes(stat.Size()), len(results))
	fmt.Fprintf(&b, "It is a very small model. It does not chat; what it can do are tasks like these. Scores are of rows that no run has learnt, measured by `peft-train eval`: answers that are right to the last letter or, where there is no one right answer, the perplexity of the reference.\n\n")
	fmt.Fprintf(&b, "| adapter | it | method | size | the base alone | with the adapter |\n|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| [%s](adapters/%[1]s/README.md) | %s | %s | %s | %s | %s |\n", r.name, r.says, r.family(), megabytes(r.bytes), r.score(r.alone), r.score(r.scores))
	}
	fmt.Fprintf(&b, "\n## Terms\n\n")
	for _, r := range results {
		fmt.Fprintf(&b, "- **%s**: %s\n", r.name, r.terms)
	}
	return b.String(), nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }
