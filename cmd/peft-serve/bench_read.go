package main

import "strings"

// validateRead refuses flags that are given and that nothing reads in what is to be
// measured.
func (b *benchCommand) validateRead(wrong *faults) {
	here, lasts := b.URL == "", b.given["rate"] || b.given["clients"]
	loads, adapters, text := !b.Kernels, b.Adapters > 0 || b.Grid, b.Text != ""
	own := b.Base != "" || b.Synthetic != ""
	heads := b.Classify || b.Many > 0
	made := here && loads && (b.Adapters > 0 || heads)
	for _, f := range []struct {
		names string
		read  bool
		why   string
	}{
		{"base threads", here || heads, "is for what is measured here, and not for --url"},
		{"ignore-config-key sliding-window", own && (here || heads), "is for --base"},
		{"activations", here || heads, "is for what is measured here, and not for --url"},
		{"kv-type prompt-share", here && loads && !heads && !text, "is for what is generated here"},
		{"prompt", loads, "is not for --kernels"},
		{"generate", loads && !heads && !text, "is not for --kernels, --classify, --many and --text"},
		{"windows adapter", text, "is for --text"},
		{"seed", loads && !text || b.Synthetic != "", "is not for --text, nor for --kernels of a base"},
		{"repetitions", !lasts && !text, "is not for --text, nor for --rate and --clients, which measure for --duration"},
		{"requests", loads && (lasts && here && b.given["rate"] || !lasts && (!here || adapters || b.Classify)), "is for --adapters, --classify, --grid and --url, and for --rate here"},
		{"adapters", loads, "is not for --kernels"},
		{"rank", made, "is for --adapters, --classify and --many, which are made here"},
		{"targets", made || here && b.Grid, "is for --adapters, --classify, --many and --grid, which are made here"},
		{"adapter-precision", made || here && b.Grid || b.Adapter != "", "is for --adapters, --classify, --many and --grid, which are made here, and for --adapter"},
		{"keep", made || here && b.Synthetic != "", "is for --synthetic and for adapters that are made here"},
		{"duration ttft tbt", lasts, "is for a load that lasts: give --rate or --clients"},
		{"zipf", lasts && (!here || adapters), "is for the adapters of a load that lasts: give --adapters, and --rate or --clients"},
		{"resident", lasts && here && adapters, "is for the adapters of a load that lasts here: give --adapters, and --rate or --clients"},
		{"key model", !here, "is for --url"},
		{"pid", !here && !heads && !lasts, "is for --url, and not for --classify, --rate and --clients"},
		{"models schema lora-field", !here && !heads, "is for --url, and not for --classify"},
	} {
		for name := range strings.FieldsSeq(f.names) {
			if b.given[name] && !f.read {
				wrong.add("--%s: %s", name, f.why)
			}
		}
	}
}
