package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/peft-serve/peft-serve/training"
)

// benchCommand measures training steps on synthetic sequences.
type benchCommand struct {
	Base      string   `help:"Base model: a Hugging Face folder, a .gguf file or an hf:// URI." placeholder:"PATH"`
	Methods   []string `help:"Methods, with targets after a colon: lora:q_proj+v_proj, dora:all-linear." default:"lora:q_proj+v_proj,lora:all-linear,dora:all-linear,full,lisa"`
	BatchSize int      `help:"Sequences of a step." default:"4"`
	MaxLength int      `help:"Tokens of a sequence." default:"256"`
	Steps     int      `help:"Steps measured, after one to warm up." default:"3"`
	R         int      `help:"Rank." default:"8"`
	Peak      float64  `help:"The machine's peak in GFLOP/s, all threads: the share of it is shown." placeholder:"GFLOPS"`
	Threads   int      `help:"Threads; 0: one for each core."`
	Recompute bool     `name:"gradient-checkpointing" help:"Compute activations twice and keep one a block."`
	JSON      bool     `name:"json" help:"Print JSON, a line a method."`
}

// Run prints a table.
func (b *benchCommand) Run(ctx context.Context, c console) error {
	if b.Base == "" {
		return faults(errors.New("--base: is missing"))
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if !b.JSON {
		fmt.Fprintln(table, "method\tparameters\ttokens/s\tGFLOP/s\tof peak\tmodel\tgradients\toptimiser\tactivations\ttotal\tresident")
	}
	for _, method := range b.Methods {
		training.ResetResidentPeak()
		base, err := openBase(ctx, b.Base, c)
		if err != nil {
			return err
		}
		r, err := training.Bench(ctx, base, training.Benchmark{
			Method: method, Batch: b.BatchSize, Length: b.MaxLength, Steps: b.Steps, R: b.R, Threads: b.Threads, Recompute: b.Recompute,
		})
		if err = errors.Join(err, base.Close()); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		if b.JSON {
			if err := r.WriteJSON(c.out); err != nil {
				return err
			}
			continue
		}
		share := "-"
		if b.Peak > 0 {
			share = fmt.Sprintf("%.0f %%", 100*r.FLOPS/1e9/b.Peak)
		}
		sizes := []any{method, r.Parameters, r.TokensPerSecond, r.FLOPS / 1e9, share}
		for _, n := range []int{r.Peak.Model, r.Peak.Gradients, r.Peak.Optimizer, r.Peak.Activations, r.Peak.Total(), r.Resident} {
			sizes = append(sizes, training.Size(n))
		}
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", slices.Clip(sizes)...)
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}
