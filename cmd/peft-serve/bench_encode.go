package main

import (
	"context"
	"time"

	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/models"
)

// The texts of an encoder, where the flags say nothing else.
const encodeTexts, encodeTokens = 32, 128

// measureEncoding is the forward pass of an encoder over texts of one length, of which
// every row is returned.
func (b *benchCommand) measureEncoding(ctx context.Context, d *bed, r *report) error {
	texts, length := encodeTexts, min(encodeTokens, d.base.model.Config().Context)
	if b.given["requests"] {
		texts = b.Requests
	}
	if b.given["prompt"] {
		length = b.Prompt
	}
	text, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	pass := models.NewPass(d.pool)
	var batch models.Batch
	for _, tokens := range b.prompts(text, 0, texts, length) {
		batch.AddText(tokens, nil, 0, nil)
	}
	for i := range batch.Rows() {
		batch.Out = append(batch.Out, int32(i))
	}
	var clock, processors []float64
	for i := range b.Repetitions + 1 { // the first warms caches and is not counted
		if ctx.Err() != nil {
			return nil
		}
		began, had := time.Now(), processor.Time()
		pass.Free(d.base.model.Forward(pass, &batch, nil))
		if i > 0 {
			clock = append(clock, rate(batch.Rows(), time.Since(began)))
			if spent := processor.Time() - had; spent > 0 {
				processors = append(processors, rate(batch.Rows(), spent))
			}
		}
	}
	s := speed{Phase: "encode", Tokens: batch.Rows(), TokensPerSecond: median(clock), Samples: clock}
	if len(processors) > 0 {
		s.TokensPerProcessorSecond = median(processors)
	}
	r.Speed = []speed{s}
	return nil
}
