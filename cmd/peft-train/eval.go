package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// evalCommand measures a base, or an adapter on it.
type evalCommand struct {
	Base       string   `help:"Base model: a Hugging Face folder, a .gguf file or an hf:// URI." placeholder:"PATH"`
	Adapter    string   `help:"Folder of an adapter, or builtin://NAME; none: the base alone." placeholder:"DIR"`
	Data       []string `help:"Files of examples, or the folder of a --task." placeholder:"PATH"`
	Task       string   `help:"GLUE task with its prompt and metric: ${tasks}."`
	Objective  string   `help:"contrastive: measure embeddings, on rows of texts that are compared; nothing: the head that there is, or text."`
	Format     string   `help:"What the rows hold: ${formats}." default:"auto"`
	Turns      string   `help:"Turns of the assistant's that are measured: ${turns}." default:"all"`
	MaxLength  int      `help:"Longest sequence, in tokens; 0: the base's." default:"512"`
	ExactMatch int      `help:"Answer every prompt greedily in up to so many tokens, and count the answers that are the completion." placeholder:"TOKENS"`
	Limit      int      `help:"Examples to measure; 0: all."`
	Samples    int      `help:"Answers to print, with --exact-match."`
	JSON       bool     `name:"json" help:"Print JSON."`
	Threads    int      `help:"Threads; 0: one for each core."`
	training.BaseConfig
	dataset.Columns
}

// Run prints the scores.
func (e *evalCommand) Run(ctx context.Context, c console) error {
	var wrong []error
	if e.Base == "" {
		wrong = append(wrong, errors.New("--base: is missing"))
	}
	if len(e.Data) == 0 {
		wrong = append(wrong, errors.New("--data: is missing"))
	}
	if e.Task != "" {
		if _, err := dataset.NewTask(e.Task); err != nil {
			wrong = append(wrong, fmt.Errorf("--task: %w", err))
		}
	}
	if !slices.Contains(dataset.Formats, e.Format) {
		wrong = append(wrong, fmt.Errorf("--format: %q is not one of %s", e.Format, strings.Join(dataset.Formats, ", ")))
	}
	if !slices.Contains(dataset.Turns, e.Turns) {
		wrong = append(wrong, fmt.Errorf("--turns: %q is not one of %s", e.Turns, strings.Join(dataset.Turns, ", ")))
	}
	if e.Samples > 0 && e.ExactMatch == 0 {
		wrong = append(wrong, errors.New("--samples: --exact-match says how many tokens an answer may have"))
	}
	wrong = append(wrong, atLeast(0, map[string]int{
		"max-length": e.MaxLength, "exact-match": e.ExactMatch, "limit": e.Limit, "samples": e.Samples, "threads": e.Threads,
	}))
	if err := faultsOf(wrong); err != nil {
		return err
	}
	base, err := openBase(ctx, e.Base, e.BaseConfig, c)
	if err != nil {
		return err
	}
	defer func() { _ = base.Close() }()
	adapter, err := openAdapter(e.Adapter)
	if err != nil {
		return fmt.Errorf("--adapter: %w", err)
	}
	scores, samples, err := training.Assess(ctx, base, training.Assessment{
		Data: e.Data, Task: e.Task, Objective: e.Objective, Format: e.Format, Columns: e.Columns, Turns: e.Turns, MaxLength: e.MaxLength, Adapter: adapter,
		ExactMatch: e.ExactMatch, Limit: e.Limit, Threads: e.Threads, Note: c.note,
	})
	if err != nil {
		return err
	}
	if e.JSON {
		b, err := json.Marshal(scores)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s\n", b)
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		fmt.Fprintf(c.out, "%-12s %.4f\n", name, scores[name])
	}
	for _, s := range samples[:min(len(samples), e.Samples)] {
		fmt.Fprintf(c.out, "\nprompt  %q\nwant    %q\ngot     %q\n", s.Prompt, s.Want, s.Got)
	}
	return nil
}
