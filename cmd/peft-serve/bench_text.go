package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// perplexity is how well a base, or an adapter on it, foresees a text: exp of the mean
// loss of its tokens, each in a window of its own beginning.
type perplexity struct {
	Text       string  `json:"text"`
	Adapter    string  `json:"adapter,omitempty"`
	Window     int     `json:"window_tokens"`
	Tokens     int     `json:"tokens"` // that are foreseen
	Loss       float64 `json:"loss"`
	Perplexity float64 `json:"perplexity"`
}

// measureText computes the loss of the text's first windows of --prompt tokens, which
// all begin anew: their first tokens are foreseen from few.
func (b *benchCommand) measureText(ctx context.Context, c console, r *report) (err error) {
	opened, err := openBase(ctx, b.Base, b.options(0), c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.source.Close()) }()
	if !opened.generates() {
		return fmt.Errorf("--text: %s generates no text", b.source())
	}
	pool := kernels.NewPool(b.threads())
	defer pool.Close()
	if err := b.round(opened, pool); err != nil {
		return err
	}
	r.describe(b, opened)
	window := b.promptTokens(min(512, opened.model.Config().Context))
	if own := opened.model.Config().Context; window < 2 || window > own {
		return fmt.Errorf("--prompt: a window of %d tokens: it has to be from 2 to the context of %s, %d", window, b.Base, own)
	}
	text, err := os.ReadFile(b.Text)
	if err != nil {
		return fmt.Errorf("--text: %w", err)
	}
	tokens, err := opened.text.EncodePlain(string(text))
	if err != nil {
		return fmt.Errorf("--text: %s: %w", b.Text, err)
	}
	windows := min(b.Windows, len(tokens)/window)
	if windows == 0 {
		return fmt.Errorf("--text: %s has %d tokens, fewer than a window of %d", b.Text, len(tokens), window)
	}
	var adapter models.Adapter
	if b.Adapter != "" {
		folder, err := adapters.Open(b.Adapter)
		if err != nil {
			return fmt.Errorf("--adapter: %w", err)
		}
		a, err := adapters.LoadIn(opened.model, folder, b.precision())
		if err != nil {
			return fmt.Errorf("--adapter: %w", err)
		}
		if a.VirtualTokens() > 0 {
			return fmt.Errorf("--adapter: %s puts virtual tokens before a text, which is not measured", b.Adapter)
		}
		adapter = a
	}
	p := &perplexity{Text: b.Text, Adapter: b.Adapter, Window: window}
	pass := models.NewPass(pool)
	for i := range windows {
		if ctx.Err() != nil {
			return nil
		}
		p.Loss += lossOf(opened.model, pass, tokens[i*window:][:window], adapter)
		p.Tokens += window - 1
	}
	p.Loss /= float64(p.Tokens)
	p.Perplexity = math.Exp(p.Loss)
	r.Perplexity = p
	return nil
}

// lossOf is the sum of the losses of all tokens but the first.
func lossOf(m models.Model, pass *models.Pass, tokens []int32, adapter models.Adapter) (loss float64) {
	var batch models.Batch
	batch.AddText(tokens, nil, 0, adapter)
	for row := range len(tokens) - 1 {
		batch.Out = append(batch.Out, int32(row))
	}
	hidden := m.Forward(pass, &batch, nil)
	logits := m.Head(pass, &batch, 0, hidden)
	for row, next := range tokens[1:] {
		of := logits.Data.Row(row)[:m.Config().Vocabulary]
		loss += float64(kernels.LogSumExp(of)) - float64(of[next])
	}
	pass.Free(hidden, logits)
	return loss
}
