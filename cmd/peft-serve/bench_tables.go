package main

import (
	"fmt"
	"io"
	"time"
)

// speedTable is a base alone, by the clock and by the time of the processors.
func (r *report) speedTable(row func(cells ...string)) {
	if len(r.Speed) == 0 {
		return
	}
	heads := []string{"phase", "tokens", "tokens/s"}
	if r.Speed[0].TokensPerProcessorSecond > 0 {
		heads = append(heads, "tokens/processor s")
	}
	row(heads...)
	for _, s := range r.Speed {
		cells := []string{s.Phase, fmt.Sprint(s.Tokens), fmt.Sprintf("%.1f", s.TokensPerSecond)}
		if s.TokensPerProcessorSecond > 0 {
			cells = append(cells, fmt.Sprintf("%.1f", s.TokensPerProcessorSecond))
		}
		row(cells...)
	}
}

// mixTable is concurrent loads, each beside the first.
func (r *report) mixTable(w io.Writer, row func(cells ...string)) {
	if len(r.Mix) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "%d requests at once, %d prompt and %d new tokens each", r.Mix[0].Requests, r.Mix[0].Prompt, r.Mix[0].Generate)
	if r.Rank > 0 {
		_, _ = fmt.Fprintf(w, "; LoRA of rank %d, %s each in %s", r.Rank, bytesText(int64(r.AdapterBytes)), r.factors())
	}
	_, _ = io.WriteString(w, "\n\n")
	heads := []string{"load", "tokens/s", "of base", "95 % interval"}
	processors := r.Mix[0].TokensPerProcessorSecond > 0
	if processors {
		heads = append(heads, "tokens/processor s", "of base", "95 % interval")
	}
	row(append(heads, "first TTFT", "last TTFT")...)
	for _, m := range r.Mix {
		cells := []string{m.Name, fmt.Sprintf("%.1f", m.TokensPerSecond), fmt.Sprintf("%.1f %%", 100*m.Ratio), intervalText(m.Interval)}
		if processors {
			cells = append(cells, fmt.Sprintf("%.1f", m.TokensPerProcessorSecond), fmt.Sprintf("%.1f %%", 100*m.ProcessorRatio), intervalText(m.ProcessorInterval))
		}
		row(append(cells, fmt.Sprintf("%.0f ms", 1000*m.FirstToken), fmt.Sprintf("%.0f ms", 1000*m.LastFirstToken))...)
	}
}

func intervalText(v []float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1f to %.1f %%", 100*v[0], 100*v[1])
}

// gridTable is the grid, a line a load.
func (r *report) gridTable(w io.Writer, row func(cells ...string)) {
	if len(r.Grid) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "LoRA, factors in %s; each row beside the base alone with as many requests\n\n", r.factors())
	row("rank", "on", "adapters", "requests", "each", "tokens/s", "base", "of base")
	for _, c := range r.Grid {
		row(fmt.Sprint(c.Rank), c.Targets, fmt.Sprint(c.Adapters), fmt.Sprint(c.Requests), bytesText(int64(c.AdapterBytes)),
			fmt.Sprintf("%.1f", c.TokensPerSecond), fmt.Sprintf("%.1f", c.BaseTokensPerSecond), fmt.Sprintf("%.0f %%", 100*c.Ratio))
	}
}

// classifiedTable is classification, by processor time.
func (r *report) classifiedTable(w io.Writer, row func(cells ...string)) {
	if len(r.Classified) == 0 {
		return
	}
	_, _ = io.WriteString(w, "processor time")
	if r.Rank > 0 {
		_, _ = fmt.Fprintf(w, "; LoRA of rank %d", r.Rank)
	}
	_, _ = io.WriteString(w, "\n\n")
	row("load", "ms a text", "of", "")
	for _, c := range r.Classified {
		ratio := ""
		if c.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f ×", c.Ratio)
		}
		row(c.Name, fmt.Sprintf("%.3f", c.Each), ratio, c.Beside)
	}
}

// manyTable is what many adapters take.
func (r *report) manyTable(w io.Writer, row func(cells ...string)) {
	if len(r.Many) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "half BitFit, half LoRA of rank %d, each with a head; processor time\n\n", r.Rank)
	row("adapters", "files", "counted", "of files", "grown by", "of files", "list, µs each", "switch, µs", "text, ms")
	for _, c := range r.Many {
		share := func(bytes int) string { return fmt.Sprintf("%.1f %%", 100*float64(bytes)/float64(c.FileBytes)) }
		grown, grownShare := "-", "-"
		if c.Resident != 0 {
			grown, grownShare = bytesText(int64(c.Resident)), share(c.Resident)
		}
		row(fmt.Sprint(c.Adapters), bytesText(int64(c.FileBytes)), bytesText(int64(c.Bytes)), share(c.Bytes), grown, grownShare,
			fmt.Sprintf("%.1f", c.List), fmt.Sprintf("%.1f", c.Switch), fmt.Sprintf("%.2f", c.Text))
	}
}

// factors tells what those of the bench's adapters are held in, whose files are F32.
func (r *report) factors() string {
	if r.AdapterPrecision == "stored" {
		return "f32"
	}
	return r.AdapterPrecision
}

// sustainedTable is a load that lasted: what went through, and how long it took.
func (r *report) sustainedTable(w io.Writer, row func(cells ...string)) {
	s := r.Sustained
	if s == nil {
		return
	}
	load := fmt.Sprintf("%d clients", s.Clients)
	if s.Clients == 0 {
		load = fmt.Sprintf("%g requests/s", s.Rate)
	}
	_, _ = fmt.Fprintf(w, "%s for %.0f s, %d prompt and %d new tokens each; %d adapters", load, s.Duration, s.Prompt, s.Generate, s.Adapters)
	if s.Resident > 0 {
		_, _ = fmt.Fprintf(w, " of rank %d, %s each in %s, memory for %d", r.Rank, bytesText(int64(r.AdapterBytes)), r.factors(), s.Resident)
	}
	if s.Adapters > 1 {
		_, _ = fmt.Fprintf(w, ", drawn by 1/k^%g", s.Zipf)
	}
	_, _ = fmt.Fprintf(w, "\n%.1f tokens/s", s.TokensPerSecond)
	if s.TokensPerProcessorSecond > 0 {
		_, _ = fmt.Fprintf(w, " (%.1f a second of processor time)", s.TokensPerProcessorSecond)
	}
	_, _ = fmt.Fprintf(w, ", %.2f requests/s, of them %.2f good%s; %d requests sent, %d finished, %d failed", s.PerSecond, s.Goodput, s.bounds(), s.Sent, s.Finished, s.Failed)
	if s.FirstFailure != "" {
		_, _ = fmt.Fprintf(w, " (%s)", s.FirstFailure)
	}
	if s.Loads > 0 {
		_, _ = fmt.Fprintf(w, "; %d loads, %d evictions", s.Loads, s.Evictions)
	}
	_, _ = io.WriteString(w, "\n\n")
	between := "between tokens"
	if r.Server != "" {
		between = "between events" // of some servers they bring several tokens
	}
	row("ms", "p50", "p90", "p99", "most")
	for _, line := range []struct {
		name string
		p    percentiles
	}{{"first token", s.TTFT}, {between, s.TBT}, {"request", s.Latency}} {
		ms := func(v float64) string { return fmt.Sprintf("%.1f", 1000*v) }
		row(line.name, ms(line.p.P50), ms(line.p.P90), ms(line.p.P99), ms(line.p.Max))
	}
}

// bounds tells what a good request keeps.
func (s *sustained) bounds() (text string) {
	for _, b := range []struct {
		name  string
		bound float64
	}{{"first token", s.BoundTTFT}, {"between tokens", s.BoundTBT}} {
		if b.bound > 0 {
			text += fmt.Sprintf(", %s within %s", b.name, time.Duration(b.bound*float64(time.Second)).Round(time.Microsecond))
		}
	}
	return text
}
