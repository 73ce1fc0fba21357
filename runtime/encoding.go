package runtime

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// encoding keeps hidden states of a prompt. It is the one kind of work that a base
// does which does not generate text; of one that does, it goes with the others.
type encoding struct {
	what  Encoding
	first int            // place of the first row that is kept
	rows  kernels.Matrix // what is kept
}

func newEncoding(s *sequence, hidden int) *encoding {
	k := &encoding{what: s.request.Encode, first: s.virtual}
	rows := len(s.request.Prompt)
	if k.what == EncodePooled {
		rows = 1
		if a := s.lease.Adapter(); a != nil { // its virtual tokens come first, its prefix is none
			k.first = a.PrefixTokens()
		}
	}
	k.rows = kernels.NewMatrix(rows, hidden)
	return k
}

func (k *encoding) wants(_ *sequence, place int) bool {
	return place >= k.first && place < k.first+k.rows.Rows
}

func (k *encoding) whole() bool   { return true }
func (k *encoding) head() passage { return passage{base: k.what == EncodePooled} }

func (k *encoding) fill(o *output, _ *choice, hidden []float32) {
	copy(k.rows.Row(o.place-k.first), hidden)
}

func (k *encoding) take(*output) {}

func (k *encoding) computed(_ *Engine, s *sequence) (Finish, error) {
	s.last = Event{Token: NoToken, Encoded: k.rows}
	return FinishLength, nil
}

// does refuses a request for what the base does not do.
func (e *Engine) does(r *Request) error {
	c := e.model.Config()
	switch {
	case r.Encode > EncodeScores:
		return fmt.Errorf("%w: encoding %d is unknown", ErrPrompt, r.Encode)
	case r.Encode != EncodeNothing && (r.MaxTokens != 0 || r.PromptLogprobs >= 0):
		return fmt.Errorf("%w: hidden states are not asked for beside text", ErrPrompt)
	case r.Encode == EncodePooled && !c.Pooler:
		return fmt.Errorf("%w: it has no pooler", models.ErrTask)
	case r.Encode == EncodeNothing && e.encoder:
		return c.Architecture.Check(models.Generate)
	case r.Types != nil && len(r.Types) != len(r.Prompt):
		return fmt.Errorf("%w: there are %d token types for %d tokens", ErrPrompt, len(r.Types), len(r.Prompt))
	}
	if err := foldable(r); err != nil {
		return err
	}
	for i, t := range r.Types {
		if t != 0 && (t < 0 || int(t) >= c.TokenTypes) {
			return fmt.Errorf("%w: the type of token %d is %d, and the base has %d", ErrPrompt, i, t, c.TokenTypes)
		}
	}
	return nil
}
