package serve

import (
	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// words is the tokenizer that a request's text is read and written with: the
// base's, or the one that its adapter brings; and what the adapter recommends to
// sample with.
type words struct {
	*tokenizer.Tokenizer
	own      bool // the adapter's
	sampling adapters.SamplingDefaults
}

// recommends is an adapter that may recommend something to sample with.
type recommends interface {
	Sampling() adapters.SamplingDefaults
}

var _ recommends = (*adapters.Adapter)(nil)

// of is what a request for the runtime says of its tokenizer.
func (w words) of() *tokenizer.Tokenizer {
	if w.own {
		return w.Tokenizer
	}
	return nil
}

// words brings the adapter into memory, since only then is known what it brings.
func (s *Server) words(c *fiber.Ctx, adapter string) (words, error) {
	if adapter == "" {
		return words{Tokenizer: s.text}, nil
	}
	entry, err := s.catalogue.Lookup(adapter)
	if err == nil && entry.State == runtime.Resident {
		return s.wordsOf(entry.Adapter), nil
	}
	if entry, err = s.awaitAdapter(c, adapter); err != nil {
		return words{}, err
	}
	return s.wordsOf(entry.Adapter), nil
}

func (s *Server) wordsOf(a runtime.Adapter) words {
	w := words{Tokenizer: s.text}
	if a == nil {
		return w
	}
	if own := a.Tokenizer(); own != nil {
		w.Tokenizer, w.own = own, true
	}
	if r, ok := a.(recommends); ok {
		w.sampling = r.Sampling()
	}
	return w
}
