package chat

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

// forms are what a template takes of what can be said in two ways. Clients of
// the OpenAI API send both, and no template tells which it takes: it shows.
type forms struct {
	// parts: it writes the text of a message that comes in parts. Another gets
	// the texts joined by line breaks.
	parts bool
	// strings: it writes the arguments of a call that come as a string of JSON,
	// and does not those that come as an object. Another gets the object.
	strings bool
}

// findForms tries the template on conversations of each form.
func (t *Template) findForms() forms {
	text := t.tryForms(`{"role": "user", "content": [{"type": "text", "text": "needle"}]}`)
	f := forms{parts: strings.Contains(text, "needle") && !strings.Contains(text, "'needle'") && !strings.Contains(text, `"needle"`)}
	for _, content := range []string{`""`, "null"} {
		call := func(arguments string) string {
			return t.tryForms(`{"role": "user", "content": "x"}`, `{"role": "assistant", "content": `+content+
				`, "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "now", "arguments": `+arguments+`}}]}`)
		}
		object := call(`{"needle": 1}`)
		if !strings.Contains(object, "needle") || strings.Contains(object, "{'needle'") {
			f.strings = f.strings || strings.Contains(call(`"{\"needle\": 1}"`), "needle")
		}
	}
	return f
}

// tryForms renders messages as they are, without tools or, if that fails, with
// one; "" if both fail.
func (t *Template) tryForms(messages ...string) string {
	as := *t
	as.forms = func() forms { return forms{parts: true, strings: true} } // nothing is changed
	as.limits = jinja.Limits{Steps: jinja.DefaultSteps / 10}
	for _, o := range []Options{{AddGenerationPrompt: true}, {AddGenerationPrompt: true, Tools: probeTools}} {
		if text, err := as.Render(context.Background(), conversation(messages...), o); err == nil {
			return text
		}
	}
	return ""
}

// Probe renders a plain conversation and one with a tool. Its error is the
// [ErrLimits] of a template that takes too much even for these, or the
// context's cause: that the template refuses or fails on them is no fault of
// its own.
func (t *Template) Probe(ctx context.Context) error {
	plain := conversation(`{"role": "user", "content": "Hello"}`, `{"role": "assistant", "content": "Hi"}`, `{"role": "user", "content": "How are you?"}`)
	for _, o := range []Options{{AddGenerationPrompt: true}, {AddGenerationPrompt: true, Tools: probeTools}} {
		if _, err := t.Render(ctx, plain, o); errors.Is(err, ErrLimits) || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// probeTools is a tool for conversations that nobody held.
var probeTools = []json.RawMessage{json.RawMessage(`{"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}`)}

// conversation reads messages that are known to be right.
func conversation(messages ...string) []Message {
	read := make([]Message, len(messages))
	for i, m := range messages {
		if err := json.Unmarshal([]byte(m), &read[i]); err != nil {
			panic(err)
		}
	}
	return read
}
