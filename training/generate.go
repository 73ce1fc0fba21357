package training

import (
	"context"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// generate continues prompts greedily by at most limit tokens each, until a
// token that ends a text.
func (e *evaluator) generate(ctx context.Context, prompts [][]int32, limit int, ends func(int32) bool) ([][]int32, error) {
	prefix, virtual := preceding(e.adapter)
	answers, blocks, next := make([][]int32, len(prompts)), make([][]int32, len(prompts)), make([]int32, len(prompts))
	total := 0
	for i, p := range prompts {
		for n := prefix + virtual + len(p) + limit; n > 0; n -= kernels.BlockLen {
			blocks[i] = append(blocks[i], int32(total))
			total++
		}
	}
	cache := models.NewCache(e.model.Config(), total)
	e.storePrefix(cache, blocks, prefix)
	live, from := make([]int, len(prompts)), make([]int, len(prompts)) // and where the adapter begins to act
	for i := range live {
		live[i], from[i] = i, max(models.Activation(prompts[i], invocation(e.adapter)), 0)
	}
	var b models.Batch
	for step := 0; step < limit && len(live) > 0; step++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b.Reset()
		b.Out = []int32{}
		for _, i := range live {
			tokens, at := []int32{next[i]}, prefix+virtual+len(prompts[i])+step-1
			if step == 0 {
				tokens, at = nil, prefix
				for v := range virtual {
					tokens = append(tokens, int32(-1-v))
				}
				tokens = append(tokens, prompts[i]...)
			}
			b.AddFrom(tokens, at, blocks[i], e.adapter, from[i])
			b.Out = append(b.Out, int32(b.Rows()-1))
		}
		h := e.model.Forward(e.pass, &b, cache)
		logits := e.model.Head(e.pass, &b, 0, h)
		still := live[:0]
		for r, i := range live {
			next[i] = int32(kernels.ArgMax(logits.Data.Row(r)))
			if ends(next[i]) {
				continue
			}
			answers[i] = append(answers[i], next[i])
			still = append(still, i)
		}
		live = still
		e.pass.Free(h, logits)
	}
	return answers, nil
}

// storePrefix writes prefix tuning's keys and values before each sequence.
func (e *evaluator) storePrefix(c *models.Cache, blocks [][]int32, n int) {
	if n == 0 {
		return
	}
	for layer, kv := range c.Layers {
		k, v := e.adapter.Prefix(layer)
		for _, own := range blocks {
			for at := range n {
				kv.Store(own[at/kernels.BlockLen], at, k.Row(at), v.Row(at))
			}
		}
	}
}

// said is the answer of an example as generate would return it: a chat
// template writes what ends it.
func (e *evaluator) said(x dataset.Example, ends func(int32) bool) (string, error) {
	tokens, err := e.encoder.Tokenizer.Encode(x.Answer(), false)
	if err != nil {
		return "", err
	}
	if end := slices.IndexFunc(tokens, ends); end >= 0 {
		tokens = tokens[:end]
	}
	return e.encoder.Tokenizer.Decode(tokens, true), nil
}

// Sample is an example with what the model makes of its prompt.
type Sample struct{ Prompt, Want, Got string }

// samples continues the first n examples of a set, batch by batch, by at most
// limit tokens. Prompts lose their beginning where the context has no room for
// both.
func (e *evaluator) samples(ctx context.Context, set dataset.Examples, n, limit int, ends func(int32) bool) ([]Sample, error) {
	var all []Sample
	encoder := *e.encoder
	encoder.MaxLength = min(encoder.MaxLength, room(e.model, e.adapter)-limit)
	const together = 16
	for from := 0; from < n; from += together {
		var prompts [][]int32
		for i := from; i < min(from+together, n); i++ {
			x, err := set.Example(i)
			if err != nil {
				return nil, err
			}
			prompt, err := set.Prompt(i)
			if err != nil {
				return nil, err
			}
			tokens, err := encoder.Prompt(prompt)
			if err != nil {
				return nil, err
			}
			want, err := e.said(x, ends)
			if err != nil {
				return nil, err
			}
			if len(tokens) == 0 { // plain text has no prompt
				tokens = []int32{max(encoder.End, 0)}
			}
			prompts = append(prompts, tokens)
			all = append(all, Sample{Prompt: prompt.Text, Want: want})
		}
		answers, err := e.generate(ctx, prompts, limit, ends)
		if err != nil {
			return nil, err
		}
		for i, a := range answers {
			all[from+i].Got = e.encoder.Tokenizer.Decode(a, true)
		}
	}
	return all, nil
}
