package runtime

import (
	"context"
	"errors"

	"github.com/peft-serve/peft-serve/catalogue"
)

// probeTokens is the most tokens of a probe, the one it makes included.
const probeTokens = 8

// Probe runs a few tokens under an adapter that no name stands for yet, as a
// row among the others, and fails with a catalogue.WithdrawnError where a value
// is not finite, or with catalogue.ErrInconclusive where the base computes such
// values by itself. name is the one that the adapter is to have.
func (e *Engine) Probe(ctx context.Context, name string, a catalogue.Adapter) error {
	lease := catalogue.LeaseOf(name, a)
	err := e.probe(ctx, a, lease)
	if !errors.Is(err, ErrNotFinite) {
		return err
	}
	switch base := e.probe(ctx, a, nil); {
	case errors.Is(base, ErrNotFinite):
		return catalogue.ErrInconclusive
	case base != nil:
		return base
	}
	broken := &catalogue.WithdrawnError{Digest: a.Digest(), Err: ErrNotFinite}
	broken.Tensor, broken.Value = a.Largest()
	return broken
}

// probe runs the probe of a under the adapter's lease, or under the base where
// that is nil.
func (e *Engine) probe(ctx context.Context, a catalogue.Adapter, lease *catalogue.Lease) error {
	vocabulary, virtual := min(a.Vocabulary(), e.model.Config().Vocabulary), 0
	if lease != nil {
		vocabulary, virtual = a.Vocabulary(), a.PrefixTokens()+a.VirtualTokens()
	}
	prompt := make([]int32, max(min(probeTokens, e.options.Context-virtual)-1, 1))
	for i := range prompt { // from the first token to the last
		prompt[i] = int32(i * (vocabulary - 1) / max(len(prompt)-1, 1))
	}
	if loudest := a.LoudestToken(); loudest >= 0 && int(loudest) < vocabulary {
		prompt[len(prompt)/2] = loudest
	}
	if own := a.Invocation(); len(own) > 0 && lease != nil {
		prompt = append(prompt[:max(min(len(prompt), e.options.Context-1-len(own)), 0)], own...)
	}
	ask := func(r Request) error {
		r.Prompt, r.Lease, r.Logprobs = prompt, lease, -1
		return e.finishes(ctx, &r)
	}
	var err error
	if e.encoder {
		err = ask(Request{Encode: EncodeTokens, PromptLogprobs: -1})
		if err == nil && e.model.Config().Pooler {
			err = ask(Request{Encode: EncodePooled, PromptLogprobs: -1})
		}
	} else {
		err = ask(Request{MaxTokens: 1, IgnoreEOS: true, PromptLogprobs: 0}) // so that every row's logits are looked at
	}
	if err == nil && lease != nil && a.Classes() != nil {
		err = ask(Request{Encode: EncodeScores, PromptLogprobs: -1})
	}
	return err
}

// finishes runs a request to its end.
func (e *Engine) finishes(ctx context.Context, r *Request) error {
	stream, err := e.Submit(ctx, r)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		if _, err := stream.Next(ctx); err != nil {
			if errors.Is(err, ErrEnd) {
				return nil
			}
			return err
		}
	}
}
