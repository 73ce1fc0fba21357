package training

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models"
)

// calledBase is what a reader is told of the base: its name, or else that of its
// file or folder; there is none of a new model.
func (r *Run) calledBase() string {
	if r.Base.begun != nil {
		return "none, from random values"
	}
	return cmp.Or(r.BaseName, filepath.Base(r.Base.Path))
}

// readme tells what an output folder holds and where it came from.
func (r *Run) readme(s *Summary) []byte {
	var b bytes.Buffer
	name := filepath.Base(filepath.Clean(r.Output))
	own := "" // peft_type that PEFT has not
	if a, ok := r.Trainer.Method.(*Adapted); ok {
		if c := a.Trainee.Config(); !c.OfPEFT() {
			own = c.Type
		}
	}
	b.Write(r.head().front())
	fmt.Fprintf(&b, "\n# %s\n\n", name)
	fmt.Fprintf(&b, "Trained by `peft-train run --method %s`.\n\n", r.Method)
	if s.Kept != "" {
		fmt.Fprintf(&b, "The run diverged after step %d. These are %s.\n\n", r.at.Step, s.Kept)
	}
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	for _, f := range r.facts(s) {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, f.Value)
	}
	if r.task != nil {
		fmt.Fprintf(&b, "\nThe prompt ends where the answer begins; the answers are %q, after which the text ends.\n", r.task.Answers)
	}
	if r.heads != nil && r.heads.Problem != models.Regression {
		fmt.Fprintf(&b, "\n## Classes\n\n| | |\n|---|---|\n")
		for i, name := range r.heads.Names {
			fmt.Fprintf(&b, "| %d | %s |\n", i, strings.ReplaceAll(name, "|", `\|`))
		}
	}
	if own != "" {
		fmt.Fprintf(&b, "\n`peft-serve` and `peft-train` read this adapter. PEFT has no %s: `peft-train merge` folds biases into a base, `peft-train convert` writes bottlenecks as AdapterHub's.\n", own)
	}
	return b.Bytes()
}

// A fact is a line of what is told of a run.
type fact struct{ Name, Value string }

// facts are how an output came about, and what it cost.
func (r *Run) facts(s *Summary) (all []fact) {
	row := func(key, format string, a ...any) { all = append(all, fact{key, fmt.Sprintf(format, a...)}) }
	row("Base", "%s (%s, %s)", r.calledBase(), r.Base.Source.Architecture, r.Base.Model.Config().Precision)
	row("Method", "%s", r.Method)
	row("Trained parameters", "%d", s.Parameters)
	var names []string
	for _, d := range r.Data {
		names = append(names, filepath.Base(d))
	}
	row("Data", "%s: %d examples", strings.Join(names, ", "), r.train.Len())
	if r.Task != "" {
		row("Task", "%s", r.Task)
	}
	if r.heads != nil {
		row("Head", "%s: %s", r.Base.Model.Config().HeadClass(r.heads.Task), r.told())
	}
	if r.recipe != nil {
		row("Embeddings", "%s", r.recipe.Describe())
	}
	row("Steps", "%d of %d × %d sequences", s.Steps, r.BatchSize, r.GradAccum)
	row("Optimizer", "%s", r.Optimizer)
	row("Learning rate", "%g, %s, %d warm-up steps", r.LR, r.Schedule, r.Trainer.Schedule.Warmup)
	row("Seed", "%d", r.Seed)
	row("Last training loss", "%.4f", s.Loss)
	for _, k := range slices.Sorted(maps.Keys(s.Validation)) {
		row("Validation "+k, "%.4f", s.Validation[k])
	}
	row("Speed", "%.0f tokens/s", s.Speed)
	row("Peak memory", "%s: model %s, gradients %s, optimizer %s, activations %s", Size(s.Peak.Total()),
		Size(s.Peak.Model), Size(s.Peak.Gradients), Size(s.Peak.Optimizer), Size(s.Peak.Activations))
	if s.Resident > 0 {
		row("Peak resident", "%s, the whole process", Size(s.Resident))
	}
	return all
}
