package main

import (
	"context"
	"errors"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/internal/sample"
	"github.com/peft-serve/peft-serve/models"
)

// measureSpeed is a base alone, one request at a time: a prompt without an
// answer, and an answer to one token; of an encoder, texts at once.
func (b *benchCommand) measureSpeed(ctx context.Context, c console, r *report) (err error) {
	d, err := b.newBed(ctx, c, catalogue.Options{}, 1, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r.describe(b, d.base)
	if !d.base.model.Config().Architecture.Does(models.Generate) {
		return b.measureEncoding(ctx, d, r)
	}
	text, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	length := b.Prompt
	prompts := b.prompts(text, 0, 1, length)
	prefill, decode := phase{name: "prefill", tokens: length}, phase{name: "decode", tokens: b.Generate}
	for i := range b.Repetitions + 1 { // the first warms caches and is not counted
		if err := prefill.run(i > 0, func() (measured, error) { return d.run(ctx, prompts, []string{""}, 0) }); err != nil {
			return err
		}
		if err := decode.run(i > 0, func() (measured, error) { return d.run(ctx, [][]int32{prompts[0][:1]}, []string{""}, b.Generate) }); err != nil {
			return err
		}
	}
	r.Speed = []speed{prefill.speed(), decode.speed()}
	return nil
}

// phase is what is measured of tokens that a base alone computes: tokens a second, by
// the clock and by the time of the processors, of each repetition.
type phase struct {
	name              string
	tokens            int
	clock, processors []float64
}

// run measures one repetition.
func (p *phase) run(counts bool, run func() (measured, error)) error {
	had := processor.Time()
	m, err := run()
	spent := processor.Time() - had
	if err != nil || !counts {
		return err
	}
	p.clock = append(p.clock, rate(p.tokens, m.wall))
	if spent > 0 {
		p.processors = append(p.processors, rate(p.tokens, spent))
	}
	return nil
}

// speed is the median of the repetitions.
func (p *phase) speed() speed {
	s := speed{Phase: p.name, Tokens: p.tokens, TokensPerSecond: sample.Median(p.clock), Samples: p.clock}
	if len(p.processors) > 0 {
		s.TokensPerProcessorSecond = sample.Median(p.processors)
	}
	return s
}

func rate(tokens int, d time.Duration) float64 { return float64(tokens) / d.Seconds() }
