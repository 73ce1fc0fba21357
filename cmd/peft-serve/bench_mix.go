package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/sample"
)

// measureMix is concurrent requests: all on the base, all on one adapter, and
// each on another, in turn, so that a machine that slows down slows all.
func (b *benchCommand) measureMix(ctx context.Context, c console, r *report) (err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	d, err := b.newBed(ctx, c, catalogue.Options{Bytes: boundless}, b.Requests, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r.describe(b, d.base)
	names, err := b.writeAdapters(d.base.model, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.catalogue.Add(name, filepath.Join(dir, name)); err != nil {
			return err
		}
		entry, err := d.catalogue.Load(ctx, name)
		if err != nil {
			return err
		}
		r.AdapterBytes = entry.Bytes
	}
	r.Rank, r.AdapterPrecision = b.Rank, b.AdapterPrecision
	text, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	defer func() { r.Stretch = d.engine.Snapshot().Stretch }()
	return b.compare(ctx, variants(b.Requests, names), b.Prompt, r, processorTime, func(round int, v load) (measured, error) {
		return d.run(ctx, b.prompts(text, round, b.Requests, b.Prompt), v.adapters, b.Generate)
	})
}

// compare measures the variants interleaved, in turns of one order and the other, and
// reports their medians, and of the ratio to the first of them in the same turn: by the
// clock, and by the processor time of who answers, if that is told: of --pid it has to be.
func (b *benchCommand) compare(ctx context.Context, all []load, length int, r *report, spent processorClock, run func(round int, v load) (measured, error)) error {
	rows := make([]mix, len(all))
	if _, err := spent(ctx); b.PID > 0 && err != nil {
		return err
	} else if err != nil {
		spent = func(context.Context) (time.Duration, error) { return 0, nil }
	}
	for i := range b.Repetitions + 1 {
		for j := range all {
			if i%2 == 1 {
				j = len(all) - 1 - j
			}
			before, err := spent(ctx)
			if err != nil {
				return err
			}
			m, err := run(i*len(all)+j, all[j])
			if err != nil {
				return err
			}
			after, err := spent(ctx)
			if err != nil {
				return err
			}
			if i == 0 {
				continue // warm-up
			}
			first, last := extremes(m.first)
			rows[j].rates = append(rows[j].rates, rate(m.tokens, m.wall))
			if after > before {
				rows[j].processors = append(rows[j].processors, rate(m.tokens, after-before))
			}
			rows[j].firsts = append(rows[j].firsts, first.Seconds())
			rows[j].lasts = append(rows[j].lasts, last.Seconds())
		}
	}
	for j, v := range all {
		m := &rows[j]
		m.Name, m.Requests, m.Prompt, m.Generate = v.name, b.Requests, length, b.Generate
		m.TokensPerSecond, m.FirstToken, m.LastFirstToken = sample.Median(m.rates), sample.Median(m.firsts), sample.Median(m.lasts)
		m.Samples = m.rates
		m.Ratio, m.Interval = paired(m.rates, rows[0].rates)
		if len(m.processors) == len(m.rates) && len(rows[0].processors) == len(m.rates) {
			m.TokensPerProcessorSecond = sample.Median(m.processors)
			m.ProcessorRatio, m.ProcessorInterval = paired(m.processors, rows[0].processors)
		}
		if j == 0 { // its ratio to itself
			m.Interval, m.ProcessorInterval = nil, nil
		}
	}
	r.Mix = rows
	return nil
}

// paired is the median of the ratios of two measurements turn by turn, and its interval.
func paired(of, to []float64) (float64, []float64) {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / to[i]
	}
	return sample.Median(ratios), sample.Interval(ratios)
}

func extremes(d []time.Duration) (least, most time.Duration) {
	least, most = d[0], d[0]
	for _, v := range d {
		least, most = min(least, v), max(most, v)
	}
	return least, most
}
