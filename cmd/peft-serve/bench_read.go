package main

import "strings"

// validateRead refuses flags that are given and that nothing reads in what is to be
// measured.
func (b *benchCommand) validateRead(wrong *faults) {
	here, lasts := b.URL == "", b.given["rate"] || b.given["clients"]
	loads, adapters, text := !b.Kernels, b.Adapters > 0 || b.Grid, b.Text != ""
	own := b.Base != "" || b.Synthetic != ""
	for _, f := range []struct {
		names string
		read  bool
		why   string
	}{
		{"base threads", here, "is for what is measured here, and not for --url"},
		{"ignore-config-key sliding-window", here && own, "is for --base"},
		{"activations", here, "is for what is measured here, and not for --url"},
		{"prompt", loads, "is not for --kernels"},
		{"generate", loads && !text, "is not for --kernels and --text"},
		{"windows adapter", text, "is for --text"},
		{"seed", loads && !text || b.Synthetic != "", "is not for --text, nor for --kernels of a base"},
		{"repetitions", !lasts && !text, "is not for --text, nor for --rate and --clients, which measure for --duration"},
		{"requests", loads && (lasts && here && b.given["rate"] || !lasts && (!here || adapters)), "is for --adapters, --grid and --url, and for --rate here"},
		{"adapters", loads, "is not for --kernels"},
		{"rank", here && loads && b.Adapters > 0, "is for --adapters that are made here"},
		{"targets", here && loads && adapters, "is for --adapters and --grid, which are made here"},
		{"adapter-precision", here && loads && adapters || b.Adapter != "", "is for --adapters and --grid, which are made here, and for --adapter"},
		{"keep", here && (b.Synthetic != "" || loads && b.Adapters > 0), "is for --synthetic and for --adapters that are made here"},
		{"duration ttft tbt", lasts, "is for a load that lasts: give --rate or --clients"},
		{"zipf", lasts && (!here || adapters), "is for the adapters of a load that lasts: give --adapters, and --rate or --clients"},
		{"resident", lasts && here && adapters, "is for the adapters of a load that lasts here: give --adapters, and --rate or --clients"},
		{"key model models schema lora-field", !here, "is for --url"},
	} {
		for name := range strings.FieldsSeq(f.names) {
			if b.given[name] && !f.read {
				wrong.add("--%s: %s", name, f.why)
			}
		}
	}
}
