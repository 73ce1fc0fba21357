package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/peft-serve/peft-serve/kernels"
)

// report is the outcome of a bench. The JSON names are stable.
type report struct {
	Version          string `json:"version"`
	Server           string `json:"server,omitempty"`
	Base             string `json:"base,omitempty"`
	Architecture     string `json:"architecture,omitempty"`
	Precision        string `json:"precision,omitempty"`
	Activations      string `json:"activations,omitempty"`
	Parameters       int    `json:"parameters,omitempty"`
	WeightBytes      int    `json:"weight_bytes,omitempty"`
	Threads          int    `json:"threads,omitempty"`
	Kernels          string `json:"kernels,omitempty"`
	KVType           string `json:"kv_type,omitempty"`
	Rank             int    `json:"rank,omitempty"`
	AdapterBytes     int    `json:"adapter_bytes,omitempty"`
	AdapterPrecision string `json:"adapter_precision,omitempty"`

	Speed      []speed      `json:"speed,omitempty"`
	Mix        []mix        `json:"mix,omitempty"`
	Grid       []gridCell   `json:"grid,omitempty"`
	Classified []classified `json:"classified,omitempty"`
	Many       []crowd      `json:"many,omitempty"`
	Products   []product    `json:"products,omitempty"`

	Scaling    []scaling   `json:"scaling,omitempty"`
	Sustained  *sustained  `json:"sustained,omitempty"`
	Perplexity *perplexity `json:"perplexity,omitempty"`
	// Stretch is the most that prompts made of a step's work beside answers, in that
	// of the step without them.
	Stretch float64 `json:"stretch,omitempty"`

	PeakGFLOPS float64 `json:"peak_gflops,omitempty"`
	PeakGBPS   float64 `json:"peak_gbps,omitempty"`
}

// speed is tokens a second of a single request, or of an encoder's texts at once: by
// the clock and, where the system tells it, by the time that processors had spent.
type speed struct {
	Phase                    string    `json:"phase"` // prefill, decode or encode
	Tokens                   int       `json:"tokens"`
	TokensPerSecond          float64   `json:"tokens_per_second"`
	TokensPerProcessorSecond float64   `json:"tokens_per_processor_second,omitempty"`
	Samples                  []float64 `json:"samples"`
}

// mix is a concurrent load: tokens generated a second over the whole run, prompts
// included, by the clock and, where it is known, by the processor time of who answers;
// and the first tokens of the first and the last request.
type mix struct {
	Name            string    `json:"name"`
	Requests        int       `json:"requests"`
	Prompt          int       `json:"prompt_tokens"`
	Generate        int       `json:"generated_tokens"`
	TokensPerSecond float64   `json:"tokens_per_second"`
	Ratio           float64   `json:"ratio_to_base"`
	Interval        []float64 `json:"ratio_interval,omitempty"` // of 95 %, if there were turns enough
	// The same by processor time, which other work on the machine changes little; 0: it
	// is not known.
	TokensPerProcessorSecond float64   `json:"tokens_per_processor_second,omitempty"`
	ProcessorRatio           float64   `json:"processor_ratio_to_base,omitempty"`
	ProcessorInterval        []float64 `json:"processor_ratio_interval,omitempty"`
	FirstToken               float64   `json:"first_ttft_seconds"`
	LastFirstToken           float64   `json:"last_ttft_seconds"`
	Samples                  []float64 `json:"samples"`

	rates, processors, firsts, lasts []float64 // processors: tokens a second of processor time
}

// product is a matrix product with cold weights. Its share is that of what it is
// nearer to: the measured peak of float32 arithmetic, which does not count for products
// of 8 bits, or a plain read of the same weights.
type product struct {
	Format       string  `json:"format"`
	Inputs       int     `json:"inputs"`
	Outputs      int     `json:"outputs"`
	Rows         int     `json:"rows"`
	Microseconds float64 `json:"microseconds"`
	GFLOPS       float64 `json:"gflops"`
	GBPS         float64 `json:"weight_gbps"`
	ReadGBPS     float64 `json:"read_gbps,omitempty"` // a plain read of the same weights, in turn with the product
	Share        float64 `json:"share_of_peak"`
}

func (r *report) describe(b *benchCommand, opened *base) {
	c := opened.model.Config()
	if b.answers(opened) {
		r.KVType = b.KVType
	}
	r.Base, r.Architecture, r.Precision = b.source(), c.Architecture.Class, c.Precision
	r.Parameters, r.WeightBytes, r.Kernels, r.Activations = c.Parameters, c.WeightBytes, kernels.Name(), c.Activations.String()
}

func (r *report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) table(out io.Writer) error {
	w := new(strings.Builder)
	switch {
	case r.Server != "":
		fmt.Fprintf(w, "%s at %s\n\n", r.Base, r.Server)
	case r.Base != "" && len(r.Products) > 0:
		fmt.Fprintf(w, "products of %s with activations in %s; %d threads, %s kernels, cold weights; peak %.0f GFLOP/s, %.1f GB/s\n\n", r.Base, r.Activations, r.Threads, r.Kernels, r.PeakGFLOPS, r.PeakGBPS)
	case r.Base != "":
		fmt.Fprintf(w, "%s: %s, %s parameters, %s, %s; activations in %s; %d threads, %s kernels",
			r.Base, r.Architecture, count(r.Parameters), r.Precision, bytesText(int64(r.WeightBytes)), r.Activations, r.Threads, r.Kernels)
		if r.KVType != "" {
			fmt.Fprintf(w, ", keys and values in %s", r.KVType)
		}
		w.WriteString("\n\n")
	default:
		fmt.Fprintf(w, "%d threads, %s kernels, cold weights; peak %.0f GFLOP/s, %.1f GB/s\n\n", r.Threads, r.Kernels, r.PeakGFLOPS, r.PeakGBPS)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { _, _ = io.WriteString(t, strings.Join(cells, "\t")+"\t\n") }
	if p := r.Perplexity; p != nil {
		row("loss", "perplexity", "tokens", "window")
		row(fmt.Sprintf("%.5f", p.Loss), fmt.Sprintf("%.4f", p.Perplexity), fmt.Sprint(p.Tokens), fmt.Sprint(p.Window))
	}
	r.speedTable(row)
	r.mixTable(w, row)
	r.gridTable(w, row)
	r.classifiedTable(w, row)
	r.manyTable(w, row)
	r.scalingTable(row)
	r.sustainedTable(w, row)
	if len(r.Products) > 0 {
		row("format", "inputs", "outputs", "rows", "µs", "GFLOP/s", "weights GB/s", "plain read", "of peak")
	}
	for _, p := range r.Products {
		row(p.Format, fmt.Sprint(p.Inputs), fmt.Sprint(p.Outputs), fmt.Sprint(p.Rows), fmt.Sprintf("%.0f", p.Microseconds),
			fmt.Sprintf("%.1f", p.GFLOPS), fmt.Sprintf("%.1f", p.GBPS), fmt.Sprintf("%.1f", p.ReadGBPS), fmt.Sprintf("%.0f %%", 100*p.Share))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Stretch > 0 {
		fmt.Fprintf(w, "\nbeside answers, prompts made a step %.2f times the work of one without at most (--prompt-share)\n", r.Stretch)
	}
	_, err := io.WriteString(out, w.String())
	return err
}
