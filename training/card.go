package training

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/training/dataset"
)

// card is the README.md of a model that was trained from random values.
func (r *Run) card(s *Summary) []byte {
	p, c := r.Base.begun, r.Base.Model.Config()
	var b bytes.Buffer
	fmt.Fprintf(&b, "---\nlibrary_name: transformers\npipeline_tag: text-generation\n")
	for _, said := range [][2]string{{"license", p.License}, {"language", p.Language}} {
		if said[1] != "" {
			fmt.Fprintf(&b, "%s: %q\n", said[0], said[1])
		}
	}
	fmt.Fprintf(&b, "---\n\n# %s\n\n", filepath.Base(filepath.Clean(r.Output)))
	fmt.Fprintf(&b, "A Llama of %d parameters, trained from random values by `peft-train pretrain`.\n\n", c.Parameters)
	if s.Kept != "" {
		fmt.Fprintf(&b, "The run diverged after step %d. These are %s.\n\n", r.at.Step, s.Kept)
	}
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	row := func(key, format string, a ...any) { fmt.Fprintf(&b, "| %s | %s |\n", key, fmt.Sprintf(format, a...)) }
	row("Shape", "%d blocks of width %d, %d heads and %d of keys and values, MLP of %d, context %d", c.Layers, c.Hidden, c.Heads, c.KVHeads, c.Intermediate, c.Context)
	tied := "head of its own"
	if c.Tied {
		tied = "head tied to the embedding"
	}
	row("Vocabulary", "%d, %s", c.Vocabulary, tied)
	row("Saved in", "%s", r.DType)
	row("Tokens seen", "%d: %.2f times through %d", r.at.Tokens, r.epoch(), r.train.Report().Tokens)
	row("Steps", "%d of %d × %d windows", s.Steps, r.BatchSize, r.GradAccum)
	row("Optimizer", "AdamW, betas %g and %g, weight decay %g but on norms and embeddings, gradient clipped to %g", r.Beta1, r.Beta2, r.Decay, r.Clip)
	row("Learning rate", "%g, %s, %d warm-up steps", r.LR, r.Schedule, r.Trainer.Schedule.Warmup)
	row("Seed", "%d", r.Seed)
	row("Last training loss", "%.4f", s.Loss)
	for _, k := range slices.Sorted(maps.Keys(s.Validation)) {
		row("Held-out "+strings.ReplaceAll(k, "_", " "), "%.4f", s.Validation[k])
	}
	row("Trained in", "%s, at %.0f tokens/s", time.Duration(r.at.Seconds*float64(time.Second)).Round(time.Minute), s.Speed)
	titles(&b, "What it was trained on, and nothing else", r.train)
	if len(r.Validation) > 0 {
		titles(&b, "What it was measured on, and not trained", r.held)
	}
	return b.Bytes()
}

// titles lists the texts of a corpus.
func titles(b *bytes.Buffer, heading string, set dataset.Examples) {
	c, ok := set.(*dataset.Corpus)
	if !ok {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| text | file | documents | tokens |\n|---|---|---|---|\n", heading)
	for _, t := range c.Texts() {
		fmt.Fprintf(b, "| %s | %s | %d | %d |\n", strings.ReplaceAll(t.Title, "|", `\|`), t.File, t.Documents, t.Tokens)
	}
}
