package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/gofiber/fiber/v2"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/runtime"
)

// chatTemplate is the template that a conversation is rendered with: the
// adapter's if it brings one, else the base's.
type chatTemplate struct {
	*chat.Template        // nil: neither has one
	adapter        string // whose template it is; empty: the base's
	version        string // digest of the adapter that the prompt is for; empty: the base
}

// chatTemplate brings the adapter into memory, since only then is known which
// template it wants.
func (s *Server) chatTemplate(c *fiber.Ctx, adapter string) (chatTemplate, error) {
	if adapter == "" {
		return chatTemplate{Template: s.chat}, nil
	}
	entry, err := s.awaitAdapter(c, adapter)
	if err != nil {
		return chatTemplate{}, err
	}
	own, err := s.templates.of(entry.Adapter)
	switch {
	case err != nil:
		return chatTemplate{}, &adapterError{adapter, err}
	case own != nil:
		return chatTemplate{own, adapter, entry.Digest}, nil
	}
	return chatTemplate{s.chat, "", entry.Digest}, nil
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
// refuses is the client's fault, anything else in an adapter's template the
// adapter's.
func (t chatTemplate) fault(err error) error {
	var refused *chat.RaisedError
	switch {
	case errors.As(err, &refused):
		return invalid("messages", "%s chat template refuses these messages: %s", t.owner(), refused.Message)
	case t.adapter != "":
		return &adapterError{t.adapter, fmt.Errorf("its chat template cannot render these messages: %w", err)}
	}
	return invalid("messages", "%s chat template cannot render these messages: %s", t.owner(), err)
}

// owner is whose template it is.
func (t chatTemplate) owner() string {
	if t.adapter == "" {
		return "the model's"
	}
	return fmt.Sprintf("adapter %q's", t.adapter)
}

// templates are the chat templates of adapters, compiled, by their source. The
// least recently used are forgotten.
type templates struct {
	compiled *lru.Cache[chat.Source, *chat.Template]
}

// maxTemplates is how many are kept.
const maxTemplates = 64

func newTemplates() *templates {
	compiled, err := lru.New[chat.Source, *chat.Template](maxTemplates)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &templates{compiled}
}

// of returns the template that an adapter brings; nil: none.
func (t *templates) of(a runtime.Adapter) (*chat.Template, error) {
	if a == nil || a.ChatTemplate().Text == "" {
		return nil, nil
	}
	source := a.ChatTemplate()
	if known, ok := t.compiled.Get(source); ok {
		return known, nil
	}
	template, err := source.Compile()
	if err != nil {
		return nil, fmt.Errorf("its chat template cannot be used: %w", err)
	}
	t.compiled.Add(source, template)
	return template, nil
}
