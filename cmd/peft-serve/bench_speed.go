package main

import (
	"context"
	"errors"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
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
	var prefill, decode []float64
	for i := range b.Repetitions + 1 { // the first warms caches and is not counted
		p, err := d.run(ctx, prompts, []string{""}, 0)
		if err != nil {
			return err
		}
		g, err := d.run(ctx, [][]int32{prompts[0][:1]}, []string{""}, b.Generate)
		if err != nil {
			return err
		}
		if i > 0 {
			prefill = append(prefill, rate(length, p.wall))
			decode = append(decode, rate(b.Generate, g.wall))
		}
	}
	r.Speed = []speed{
		{Phase: "prefill", Tokens: length, TokensPerSecond: median(prefill), Samples: prefill},
		{Phase: "decode", Tokens: b.Generate, TokensPerSecond: median(decode), Samples: decode},
	}
	return nil
}

func rate(tokens int, d time.Duration) float64 { return float64(tokens) / d.Seconds() }
