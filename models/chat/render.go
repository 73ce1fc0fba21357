package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

// Options are what a template sees besides the messages.
type Options struct {
	// AddGenerationPrompt ends the prompt with the start of the answer.
	AddGenerationPrompt bool
	// ContinueFinalMessage ends the prompt where the text of the last message
	// ends, for the model to go on with it.
	ContinueFinalMessage bool
	// Tools are the definitions of the tools that the model may call, each a
	// JSON object.
	Tools []json.RawMessage
	// Documents are what the answer is to draw on, each a JSON object.
	Documents []json.RawMessage
	// Variables are further variables by name, such as enable_thinking; see
	// [Given].
	Variables map[string]json.RawMessage
	// Now is what strftime_now tells; zero is the current time.
	Now time.Time
}

// Render returns the prompt of a conversation. If the template refuses the
// conversation, the error is a [*RaisedError]; if no template could be given it,
// ErrConversation; if this one takes too much, ErrLimits; if the context ends
// meanwhile, its cause.
func (t *Template) Render(ctx context.Context, messages []Message, o Options) (string, error) {
	output, err := t.RenderSpans(ctx, messages, o)
	return output.Text, err
}

// RenderSpans is Render, and also tells the spans of the text, in bytes, that
// the template's {% generation %} blocks wrote: what an assistant says. With
// ContinueFinalMessage it tells none, as in transformers.
func (t *Template) RenderSpans(ctx context.Context, messages []Message, o Options) (jinja.Output, error) {
	turns := make([]object, len(messages))
	for i := range messages {
		turns[i] = messages[i].inForm(t.forms)
	}
	final := ""
	if o.ContinueFinalMessage {
		if len(turns) == 0 {
			return jinja.Output{}, errNotContinued
		}
		var err error
		if final, err = tagFinal(turns[len(turns)-1]); err != nil {
			return jinja.Output{}, err
		}
	}
	variables, err := t.variables(turns, o)
	if err != nil {
		return jinja.Output{}, err
	}
	compiled := t.plain
	if len(o.Tools) > 0 {
		compiled = t.tools
	}
	output, err := compiled.Render(ctx, variables, t.limits)
	if err == nil && o.ContinueFinalMessage {
		text, err := cutFinal(output.Text, final)
		return jinja.Output{Text: text}, err
	}
	if err == nil {
		return output, nil
	}
	var raised *RaisedError
	switch {
	case errors.As(err, &raised):
		return jinja.Output{}, raised
	case ctx.Err() != nil:
		return jinja.Output{}, context.Cause(ctx)
	}
	return jinja.Output{}, fault(err)
}

// variables are all that the template sees.
func (t *Template) variables(messages []object, o Options) (map[string]jinja.Value, error) {
	v := maps.Clone(t.tokens)
	if v == nil {
		v = make(map[string]jinja.Value, len(o.Variables)+len(given))
	}
	for name, raw := range o.Variables {
		value, err := jinja.FromJSON(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: variable %s: %w", ErrConversation, name, err)
		}
		v[name] = value
	}
	turns := make([]jinja.Value, len(messages))
	for i, m := range messages {
		var err error
		if turns[i], err = m.value(); err != nil {
			return nil, fmt.Errorf("%w: message %d: %w", ErrConversation, i, err)
		}
	}
	var err error
	if v[toolsName], err = objects("tool", o.Tools); err != nil {
		return nil, err
	}
	if v["documents"], err = objects("document", o.Documents); err != nil {
		return nil, err
	}
	v["messages"] = jinja.List(turns...)
	v["add_generation_prompt"] = jinja.Bool(o.AddGenerationPrompt)
	v["raise_exception"] = jinja.NewFunction("raise_exception", raise)
	v["strftime_now"] = jinja.NewFunction("strftime_now", clock(o.Now))
	return v, nil
}

// objects is a list of JSON objects; none: None.
func objects(kind string, raw []json.RawMessage) (jinja.Value, error) {
	if len(raw) == 0 {
		return jinja.None, nil
	}
	list := make([]jinja.Value, len(raw))
	for i, r := range raw {
		if !isObject(r) {
			return nil, fmt.Errorf("%w: %s %d is not a JSON object", ErrConversation, kind, i)
		}
		var err error
		if list[i], err = jinja.FromJSON(r); err != nil {
			return nil, fmt.Errorf("%w: %s %d: %w", ErrConversation, kind, i, err)
		}
	}
	return jinja.List(list...), nil
}
