package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/sample"
)

// scaling is what a base alone does on so many threads, and how many times as fast
// that is as on the first number that was given.
type scaling struct {
	Threads int     `json:"threads"`
	Prefill float64 `json:"prefill_tokens_per_second"`
	Decode  float64 `json:"decode_tokens_per_second"`
	// PrefillTimes and DecodeTimes are ratios to the first.
	PrefillTimes float64 `json:"prefill_times"`
	DecodeTimes  float64 `json:"decode_times"`
}

// threads is the number that computes; the first where several are measured.
func (b *benchCommand) threads() int {
	if len(b.Threads) == 0 {
		return threads(0)
	}
	return threads(b.Threads[0])
}

func (b *benchCommand) validateThreads(wrong *faults) {
	for _, n := range b.Threads {
		atLeast(wrong, "threads", n, 0)
		if n > maxThreads {
			wrong.add("--threads: %d is above %d", n, maxThreads)
		}
	}
	if len(b.Threads) > 1 && (b.URL != "" || b.Kernels || b.Grid || b.lasts() || b.Adapters > 0 || b.Classify || b.Many > 0 || b.Text != "") {
		wrong.add("--threads: several are measured of a base alone: without --url, --kernels, --grid, --rate, --clients, --adapters, --classify, --many and --text")
	}
}

// measureScaling is measureSpeed on each number of threads, in turn.
func (b *benchCommand) measureScaling(ctx context.Context, c console, r *report) error {
	beds := make([]*bed, len(b.Threads))
	defer func() {
		for _, d := range beds {
			if d != nil {
				_ = d.close()
			}
		}
	}()
	var prompts [][]int32
	for i, n := range b.Threads {
		one := *b
		one.Threads = []int{n}
		d, err := one.newBed(ctx, c, catalogue.Options{}, 1, true)
		if err != nil {
			return err
		}
		if beds[i] = d; i > 0 {
			continue
		}
		b.Prompt, b.Generate = one.Prompt, one.Generate
		r.describe(b, d.base)
		r.Threads = slices.Max(b.Threads)
		text, err := d.base.text.EncodePlain(benchText)
		if err != nil {
			return err
		}
		prompts = b.prompts(text, 0, 1, b.Prompt)
	}
	prefill, decode := make([][]float64, len(beds)), make([][]float64, len(beds))
	for round := range b.Repetitions + 1 { // the first warms caches and is not counted
		for i, d := range beds {
			p, err := d.run(ctx, prompts, []string{""}, 0)
			g, wrong := d.run(ctx, [][]int32{prompts[0][:1]}, []string{""}, b.Generate)
			if err := errors.Join(err, wrong); err != nil {
				return err
			}
			if round > 0 {
				prefill[i] = append(prefill[i], rate(b.Prompt, p.wall))
				decode[i] = append(decode[i], rate(b.Generate, g.wall))
			}
		}
	}
	for i := range beds {
		s := scaling{Threads: threads(b.Threads[i]), Prefill: sample.Median(prefill[i]), Decode: sample.Median(decode[i])}
		s.PrefillTimes, s.DecodeTimes = s.Prefill/sample.Median(prefill[0]), s.Decode/sample.Median(decode[0])
		r.Scaling = append(r.Scaling, s)
	}
	return nil
}

// scalingTable is a line for each number of threads.
func (r *report) scalingTable(row func(cells ...string)) {
	if len(r.Scaling) == 0 {
		return
	}
	row("threads", "prefill tokens/s", "times", "decode tokens/s", "times")
	for _, s := range r.Scaling {
		row(fmt.Sprint(s.Threads), fmt.Sprintf("%.1f", s.Prefill), fmt.Sprintf("%.2f", s.PrefillTimes), fmt.Sprintf("%.1f", s.Decode), fmt.Sprintf("%.2f", s.DecodeTimes))
	}
}
