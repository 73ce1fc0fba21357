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
	base    *chat.Template // nil: it has none, or the adapter has its own
	own     *chat.Confined // the adapter's; nil: the base's is used
	adapter string         // whose template it is; empty: the base's
	version string         // digest of the adapter that the prompt is for; empty: the base
}

// takesTools reports whether the template, one of which there is, looks at the
// tools of a conversation.
func (t chatTemplate) takesTools() bool {
	if t.own != nil {
		return t.own.TakesTools()
	}
	return t.base.TakesTools()
}

// chatTemplate brings the adapter into memory, since only then is known which
// template it wants.
func (s *Server) chatTemplate(c *fiber.Ctx, adapter string) (chatTemplate, error) {
	if adapter == "" {
		return chatTemplate{base: s.chat}, nil
	}
	entry, err := s.awaitAdapter(c, adapter)
	if err != nil {
		return chatTemplate{}, err
	}
	if own := s.templates.of(entry.Adapter); own != nil {
		return chatTemplate{own: own, adapter: adapter, version: entry.Digest}, nil
	}
	return chatTemplate{base: s.chat, version: entry.Digest}, nil
}

// render renders a conversation: with the base's template here, with an
// adapter's own, which may be a stranger's, in the sandbox.
func (s *Server) render(c *fiber.Ctx, t chatTemplate, messages []chat.Message, o chat.Options) (text string, err error) {
	if t.own == nil {
		if text, err = t.base.Render(messages, o); err != nil {
			return "", t.fault(err)
		}
		return text, nil
	}
	ctx, done := s.attend(c)
	defer done()
	if text, err = t.own.Render(ctx, messages, o); err != nil && isOfTemplate(ctx, err) {
		return "", t.fault(err)
	}
	return text, err
}

// isOfTemplate tells an error of a template from one of the sandbox, and from
// the end of the context.
func isOfTemplate(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, chat.ErrSandbox)
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

// templates are the chat templates of adapters by their source. The least
// recently used are forgotten.
type templates struct {
	base    *chat.Template // nil: it has none
	sandbox *chat.Sandbox
	known   *lru.Cache[chat.Source, *chat.Confined]
}

// maxTemplates is how many are kept.
const maxTemplates = 64

func newTemplates(base *chat.Template) *templates {
	known, err := lru.New[chat.Source, *chat.Confined](maxTemplates)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &templates{base, chat.NewSandbox(), known}
}

// of returns the template that an adapter brings; nil: none but the base's, the
// operator's own.
func (t *templates) of(a runtime.Adapter) *chat.Confined {
	if a == nil {
		return nil
	}
	source := a.ChatTemplate()
	if source.Text == "" || t.base != nil && t.base.Is(source) {
		return nil
	}
	template, ok := t.known.Get(source)
	if !ok {
		template = t.sandbox.Template(source)
		if other, ok, _ := t.known.PeekOrAdd(source, template); ok { // of a request at the same time
			template = other
		}
	}
	return template
}
