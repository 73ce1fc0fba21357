package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// WithdrawnError is an adapter version that computes values which are not
// finite: it is not served until its folder holds another.
type WithdrawnError struct {
	Digest string
	Tensor string  // that holds its largest value; empty: not looked for
	Value  float32 // that value
}

func (e *WithdrawnError) Error() string {
	text := fmt.Sprintf("version %s is not served: under it %s", e.Digest, ErrNotFinite)
	if e.Tensor != "" {
		text += fmt.Sprintf(" (its largest weight is %.3g, in %s)", e.Value, e.Tensor)
	}
	return text
}

// Unwrap makes it an ErrNotFinite.
func (e *WithdrawnError) Unwrap() error { return ErrNotFinite }

// maxVerdicts is how many versions are remembered, the most recent ones.
const maxVerdicts = 4096

func newVerdicts() *lru.Cache[string, error] {
	verdicts, err := lru.New[string, error](maxVerdicts)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return verdicts
}

// probeTokens is the most tokens of a probe, the one it makes included.
const probeTokens = 8

// Probe runs a few tokens under an adapter that no name stands for yet, as a
// row among the others, and fails with a WithdrawnError where a value is not
// finite. What it finds is remembered by digest. name is the one that the
// adapter is to have.
func (e *Engine) Probe(ctx context.Context, name string, a Adapter) error {
	if e.catalogue != nil {
		if err, known := e.catalogue.verdicts.Get(a.Digest()); known {
			return err
		}
	}
	err := e.probe(ctx, name, a)
	if errors.Is(err, ErrNotFinite) {
		switch base := e.probe(ctx, "", a); {
		case errors.Is(base, ErrNotFinite): // it is not the adapter's fault
			return nil
		case base != nil:
			return base
		}
		broken := &WithdrawnError{Digest: a.Digest()}
		broken.Tensor, broken.Value = a.Largest()
		err = broken
	}
	if known := err == nil || errors.Is(err, ErrNotFinite); known && e.catalogue != nil {
		e.catalogue.verdicts.Add(a.Digest(), err)
	}
	return err
}

// probe runs the probe of a under the adapter, or under the base where name is
// empty.
func (e *Engine) probe(ctx context.Context, name string, a Adapter) error {
	vocabulary := min(a.Vocabulary(), e.model.Config().Vocabulary)
	virtual := 0
	var text *tokenizer.Tokenizer
	if name != "" {
		vocabulary, virtual, text = a.Vocabulary(), a.PrefixTokens()+a.VirtualTokens(), a.Tokenizer()
	}
	prompt := make([]int32, max(min(probeTokens, e.options.Context-virtual)-1, 1))
	for i := range prompt { // from the first token to the last
		prompt[i] = int32(i * (vocabulary - 1) / max(len(prompt)-1, 1))
	}
	if loudest := a.LoudestToken(); loudest >= 0 && int(loudest) < vocabulary {
		prompt[len(prompt)/2] = loudest
	}
	stream, err := e.submit(ctx, &Request{
		Prompt: prompt, Adapter: name, Tokenizer: text, MaxTokens: 1, IgnoreEOS: true, Logprobs: -1,
		PromptLogprobs: 0, // so that every row's logits are looked at
	}, func(string) (*lease, error) {
		l := &lease{version: &version{number: probeNumber, adapter: a}}
		l.done.Store(true)
		return l, nil
	})
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

// probeNumber puts probes behind all versions in a batch.
const probeNumber = 1<<64 - 1

// blame withdraws the version of a sequence that failed of a value that is not
// finite, unless the sequence is the base's or a probe.
func (e *Engine) blame(s *sequence, err error) error {
	if !errors.Is(err, ErrNotFinite) || s.lease == nil || s.lease.catalogue == nil {
		return err
	}
	return s.lease.catalogue.withdraw(s.lease.version)
}

// withdraw ends the time of a version that computes what is not finite: who
// asks for it from now on is refused.
func (c *Catalogue) withdraw(v *version) error {
	digest := v.adapter.Digest()
	found, _ := c.verdicts.Get(digest)
	if found == nil { // by a probe of the same version, say
		found = &WithdrawnError{Digest: digest}
		c.verdicts.Add(digest, found)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.retired {
		return found
	}
	r := v.record
	r.current, r.failure = nil, failure{found, time.Now().Add(c.options.Retry), v.stamp}
	c.versions.retire(v)
	c.arrange()
	c.options.Log.Warn("adapter withdrawn", "adapter", r.name, "source", r.uri, "error", found)
	return found
}
