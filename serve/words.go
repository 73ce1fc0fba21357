package serve

import (
	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// words is the tokenizer that a request's text is read and written with: the
// base's, or the one that its adapter brings.
type words struct {
	*tokenizer.Tokenizer
	own bool // the adapter's
}

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
	if a != nil {
		if own := a.Tokenizer(); own != nil {
			return words{own, true}
		}
	}
	return words{Tokenizer: s.text}
}
