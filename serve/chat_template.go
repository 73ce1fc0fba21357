package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/chat"
)

// chatTemplate is the template that a conversation is rendered with: the
// adapter's if it brings one, else the base's.
type chatTemplate struct {
	*turnTemplate        // nil: there is none
	adapter       string // whose template it is; empty: the base's
}

func (s *Server) chatTemplate(c *fiber.Ctx, to selection) (chatTemplate, error) {
	t := chatTemplate{turnTemplate: s.templates.base}
	if to.lease == nil {
		return t, nil
	}
	ctx, done := s.attend(c)
	defer done()
	own, brought, err := s.templates.of(ctx, usersOf(to.lease), to.lease.ChatTemplate(), to.text)
	switch {
	case err != nil && ctx.Err() != nil:
		return chatTemplate{}, context.Cause(ctx)
	case err != nil:
		return chatTemplate{}, &adapterError{to.lease.Name(), unusable(err)}
	case own != nil:
		t.turnTemplate = own
	}
	if brought {
		t.adapter = to.lease.Name()
	}
	return t, nil
}

// render renders a conversation, which is that field of the request. It ends when the client leaves.
func (s *Server) render(c *fiber.Ctx, t chatTemplate, field string, messages []chat.Message, o chat.Options) (string, error) {
	ctx, done := s.attend(c)
	defer done()
	text, err := t.render(ctx, messages, o)
	if err == nil && text == "" {
		err = errBlank
	}
	if err != nil && ctx.Err() == nil {
		return "", t.fault(field, err)
	}
	return text, err
}

// errBlank is what is wrong with a template of which nothing comes.
var errBlank = errors.New("it renders nothing: no role, no text")

// fault is what went wrong in rendering: a conversation that the template
// refuses, or that cannot be rendered at all, is the client's fault, anything
// else in an adapter's template the adapter's.
func (t chatTemplate) fault(field string, err error) error {
	var refused *chat.RaisedError
	switch {
	case errors.As(err, &refused):
		return invalid(field, "%s chat template refuses these messages: %s", t.owner(), refused.Message)
	case errors.Is(err, chat.ErrConversation):
		return invalid(field, "these messages cannot be rendered: %s", err)
	case t.adapter != "":
		return &adapterError{t.adapter, unusable(err)}
	case errors.Is(err, errBlank):
		return invalid(field, "%s chat template is at fault, not these messages: %s; /v1/completions needs no template", t.owner(), err)
	}
	return invalid(field, "%s chat template cannot render these messages: %s", t.owner(), err)
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
