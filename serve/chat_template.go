package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/runtime"
)

// chatTemplate is the template that a conversation is rendered with: the
// adapter's if it brings one, else the base's.
type chatTemplate struct {
	*turnTemplate        // nil: there is none
	adapter       string // whose template it is; empty: the base's
	version       string // digest of the adapter that the prompt is for; empty: the base
	words         words  // what the prompt is encoded with
}

// chatTemplate brings the adapter into memory, since only then is known which
// template it wants.
func (s *Server) chatTemplate(c *fiber.Ctx, adapter string) (chatTemplate, error) {
	if adapter == "" {
		return chatTemplate{turnTemplate: s.templates.base, words: words{Tokenizer: s.text}}, nil
	}
	entry, err := s.awaitAdapter(c, adapter)
	if err != nil {
		return chatTemplate{}, err
	}
	ctx, done := s.attend(c)
	defer done()
	t := chatTemplate{turnTemplate: s.templates.base, version: entry.Digest, words: s.wordsOf(entry.Adapter)}
	own, brought, err := s.templates.of(ctx, entry.Adapter, t.words.Tokenizer)
	switch {
	case err != nil && ctx.Err() != nil:
		return chatTemplate{}, context.Cause(ctx)
	case err != nil:
		return chatTemplate{}, &adapterError{adapter, unusable(err)}
	case own != nil:
		t.turnTemplate = own
	}
	if brought {
		t.adapter = adapter
	}
	return t, nil
}

// render renders a conversation. It ends when the client leaves.
func (s *Server) render(c *fiber.Ctx, t chatTemplate, messages []chat.Message, o chat.Options) (string, error) {
	ctx, done := s.attend(c)
	defer done()
	text, err := t.render(ctx, messages, o)
	if err != nil && ctx.Err() == nil {
		return "", t.fault(err)
	}
	return text, err
}

// awaitAdapter waits for an adapter off the step loop. Those who wait here are
// not in the engine's queue yet, and so are as many as that may hold.
func (s *Server) awaitAdapter(c *fiber.Ctx, name string) (runtime.Entry, error) {
	if s.requests.isDraining() {
		return runtime.Entry{}, draining()
	}
	defer s.loading.Add(-1)
	if waiting := s.loading.Add(1); waiting > int64(s.engine.Options().Queue) {
		return runtime.Entry{}, fmt.Errorf("%w: %d requests wait for their adapter", runtime.ErrQueueFull, waiting-1)
	}
	ctx, done := s.attend(c)
	defer done()
	entry, err := s.catalogue.Load(ctx, name)
	switch {
	case err != nil && ctx.Err() != nil:
		return entry, context.Cause(ctx)
	case err != nil:
		return entry, loadFault(name, err)
	}
	return entry, nil
}

// fault is what went wrong in rendering: a conversation that the template
// refuses, or that cannot be rendered at all, is the client's fault, anything
// else in an adapter's template the adapter's.
func (t chatTemplate) fault(err error) error {
	var refused *chat.RaisedError
	switch {
	case errors.As(err, &refused):
		return invalid("messages", "%s chat template refuses these messages: %s", t.owner(), refused.Message)
	case errors.Is(err, chat.ErrConversation):
		return invalid("messages", "these messages cannot be rendered: %s", err)
	case t.adapter != "":
		return &adapterError{t.adapter, unusable(err)}
	}
	return invalid("messages", "%s chat template cannot render these messages: %s", t.owner(), err)
}

// unusable is what is wrong with an adapter whose template fails.
func unusable(err error) error { return fmt.Errorf("its chat template cannot be used: %w", err) }

// owner is whose template it is.
func (t chatTemplate) owner() string {
	if t.adapter == "" {
		return "the model's"
	}
	return fmt.Sprintf("adapter %q's", t.adapter)
}
