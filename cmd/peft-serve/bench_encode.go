package main

import (
	"context"
	"time"

	"github.com/peft-serve/peft-serve/models"
)

// The texts of an encoder, and their length where --prompt says nothing else.
const encodeTexts, encodeTokens = 32, 128

// measureEncoding is the forward pass of an encoder over texts of one length, of which
// every row is returned.
func (b *benchCommand) measureEncoding(ctx context.Context, d *bed, r *report) error {
	length := min(encodeTokens, d.base.model.Config().Context)
	if b.given["prompt"] {
		length = b.Prompt
	}
	text, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	pass := models.NewPass(d.pool)
	var batch models.Batch
	for _, tokens := range b.prompts(text, 0, encodeTexts, length) {
		batch.AddText(tokens, nil, 0, nil)
	}
	for i := range batch.Rows() {
		batch.Out = append(batch.Out, int32(i))
	}
	encode := phase{name: "encode", tokens: batch.Rows()}
	for i := range b.Repetitions + 1 { // the first warms caches and is not counted
		if ctx.Err() != nil {
			return nil
		}
		if err := encode.run(i > 0, func() (measured, error) {
			began := time.Now()
			pass.Free(d.base.model.Forward(pass, &batch, nil))
			return measured{wall: time.Since(began)}, nil
		}); err != nil {
			return err
		}
	}
	r.Speed = []speed{encode.speed()}
	return nil
}
