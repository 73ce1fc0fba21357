package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/inspect"
)

// inspectCommand describes an adapter or a fine-tune.
type inspectCommand struct {
	Adapter string `arg:"" help:"An adapter's folder or GGUF file or, with --against, a fine-tuned model." type:"path"`
	Against string `help:"The base: print DoRA's ΔM and ΔD by layer and their correlation." placeholder:"BASE"`
	JSON    bool   `name:"json" help:"Print JSON."`
	training.BaseConfig
}

// Run prints the description and, with a base, the comparison.
func (i *inspectCommand) Run(ctx context.Context, c console) error {
	var out struct {
		*inspect.Description
		Against *inspect.Comparison `json:"against,omitempty"`
	}
	if i.Against == "" && isModel(i.Adapter) {
		return fmt.Errorf("%w: %s is a model, not an adapter: --against BASE compares it with the base that it was tuned from", errUsage, i.Adapter)
	}
	against, err := fetchModel(ctx, i.Against, c)
	if err != nil {
		return err
	}
	if i.Against == "" || inspect.IsAdapter(i.Adapter) {
		if out.Description, err = inspect.Describe(i.Adapter); err != nil {
			return err
		}
	}
	if i.Against != "" {
		if out.Against, err = inspect.Against(i.Adapter, against, i.Options()); err != nil {
			return err
		}
	}
	if i.JSON {
		return writeJSON(c.out, out)
	}
	if out.Description != nil {
		if err := describe(c.out, out.Description); err != nil {
			return err
		}
	}
	if out.Against != nil {
		return compared(c.out, out.Against)
	}
	return nil
}

// isModel reports whether a path is a model's: its folder, or a GGUF file that
// is not an adapter.
func isModel(path string) bool {
	if _, err := os.Stat(filepath.Join(path, "config.json")); err == nil {
		return !inspect.IsAdapter(path)
	}
	if filepath.Ext(path) != ".gguf" || inspect.IsAdapter(path) {
		return false
	}
	f, err := gguf.Open(path)
	if err != nil {
		return false // what is wrong with it shows when it is read
	}
	return f.Close() == nil
}

func describe(w io.Writer, d *inspect.Description) error {
	t := &table{}
	method := d.Method
	if d.Rank > 0 {
		method += ", rank " + strconv.Itoa(d.Rank)
	}
	task := d.Task
	if task == "" {
		task = "not said"
	}
	if _, err := fmt.Fprintf(w, "%s\n  method   %s (%s)\n  base     %s\n  task     %s\n  targets  %s\n  size     %s parameters in %d tensors, %s, %s\n  digest   %s\n\n",
		d.Path, method, d.Type, d.Base, task, strings.Join(d.Targets, " "), grouped(d.Parameters), d.Tensors, byteSize(float64(d.Bytes)),
		strings.Join(d.Precision, " "), d.Digest); err != nil {
		return err
	}
	kinds := map[string]bool{}
	for _, l := range d.Layers {
		for kind := range l.Norms {
			kinds[kind] = true
		}
	}
	names := slices.Sorted(maps.Keys(kinds))
	head := []string{"layer", "parameters"}
	for _, kind := range names {
		head = append(head, "‖"+kind+"‖")
	}
	t.row(head...)
	for _, l := range d.Layers {
		cells := []string{layerName(l.Layer), grouped(l.Parameters)}
		for _, kind := range names {
			if n, ok := l.Norms[kind]; ok {
				cells = append(cells, fmt.Sprintf("%.4g", n))
			} else {
				cells = append(cells, "-")
			}
		}
		t.row(cells...)
	}
	return t.write(w)
}

func layerName(n int) string {
	if n < 0 {
		return "outside"
	}
	return strconv.Itoa(n)
}

func compared(w io.Writer, c *inspect.Comparison) error {
	if len(c.Modules) == 0 {
		_, err := fmt.Fprintln(w, "\nno matrix of the blocks differs")
		return err
	}
	t := &table{}
	t.row("\nlayer", "ΔM", "ΔD", "‖W-W₀‖/‖W₀‖")
	for _, l := range c.Layers {
		t.row(strconv.Itoa(l.Layer), fmt.Sprintf("%.4g", l.DeltaM), fmt.Sprintf("%.4g", l.DeltaD), fmt.Sprintf("%.4g", l.Relative))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\ncorrelation of ΔM and ΔD (DoRA's paper: LoRA 0.83, DoRA -0.31, full fine-tuning -0.62)"); err != nil {
		return err
	}
	r := &table{}
	for _, kind := range slices.Sorted(maps.Keys(c.Correlation)) {
		r.row("  "+kind, fmt.Sprintf("%+.3f", c.Correlation[kind]))
	}
	return r.write(w)
}
