package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/kernels"
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
	Threads   int      `help:"Threads; 0: one for each core."`
	Recompute bool     `name:"gradient-checkpointing" help:"Compute activations twice and keep one a block."`
	JSON      bool     `name:"json" help:"Print JSON, a line a method."`
	training.BaseConfig
}

// Run prints a table.
func (b *benchCommand) Run(ctx context.Context, c console) error {
	if err := b.check(); err != nil {
		return err
	}
	// Each line is written as it is measured: the widths are fixed.
	const columns = "%-20s %12v %9v %18v %8v %8v %10v %10v %10v %12v %10v %10v\n"
	if !b.JSON {
		fmt.Fprintf(c.out, columns, "method", "parameters", "tokens/s", "tokens/processor s", "GFLOP/s", "of peak", "model", "gradients", "optimizer", "activations", "total", "resident")
	}
	for _, method := range b.Methods {
		peak := b.measurePeak() // beside each method: a machine may be shared
		training.ResetResidentPeak()
		base, err := openBase(ctx, b.Base, b.BaseConfig, c)
		if err != nil {
			return err
		}
		r, err := training.Bench(ctx, base, training.Benchmark{
			Method: method, Batch: b.BatchSize, Length: b.MaxLength, Steps: b.Steps, R: b.R, Threads: b.Threads, Recompute: b.Recompute,
		})
		if err = errors.Join(err, base.Close()); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		r.PeakFLOPS = peak
		if b.JSON {
			if err := r.WriteJSON(c.out); err != nil {
				return err
			}
			continue
		}
		share, processors := "-", "-"
		if r.TokensPerProcessorSecond > 0 {
			processors = fmt.Sprintf("%.0f", r.TokensPerProcessorSecond)
		}
		if peak > 0 {
			share = fmt.Sprintf("%.0f %%", 100*r.FLOPS/peak)
		}
		cells := []any{method, r.Parameters, fmt.Sprintf("%.0f", r.TokensPerSecond), processors, fmt.Sprintf("%.1f", r.FLOPS/1e9), share}
		for _, n := range []int{r.Peak.Model, r.Peak.Gradients, r.Peak.Optimizer, r.Peak.Activations, r.Peak.Total(), r.Resident} {
			cells = append(cells, training.Size(n))
		}
		fmt.Fprintf(c.out, columns, cells...)
	}
	return nil
}

// measurePeak returns the multiply-adds' peak in FLOP/s, all threads; 0 where it
// cannot be measured.
func (b *benchCommand) measurePeak() float64 {
	pool := kernels.NewPool(b.Threads)
	defer pool.Close()
	return pool.MeasurePeak(200*time.Millisecond).GFLOPS * 1e9
}

// check reports everything that is wrong with the arguments.
func (b *benchCommand) check() error {
	var wrong []error
	if b.Base == "" {
		wrong = append(wrong, errors.New("--base: is missing"))
	}
	for _, method := range b.Methods {
		name, _, _ := strings.Cut(method, ":")
		if !training.Known(name) {
			wrong = append(wrong, fmt.Errorf("--methods: %q is not one of %s", name, strings.Join(training.Methods(), ", ")))
		}
	}
	wrong = append(wrong, atLeast(1, map[string]int{"batch-size": b.BatchSize, "steps": b.Steps, "r": b.R}),
		atLeast(2, map[string]int{"max-length": b.MaxLength}), atLeast(0, map[string]int{"threads": b.Threads}))
	return faultsOf(wrong)
}
