package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ardanlabs/jinja"
)

// ErrNoTemplate is what a model without a chat template gives.
var ErrNoTemplate = errors.New("chat: no chat template")

// A RaisedError is a template's own complaint about the conversation, made
// with raise_exception: the caller's fault rather than the template's.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "chat: the template refuses: " + e.Message }

// A Template turns messages into a prompt.
type Template struct {
	from  Source
	plain *jinja.Template
	tools *jinja.Template // for conversations with tools; often the same
}

// New compiles a template.
func New(source string) (*Template, error) {
	compiled, err := compile(source)
	if err != nil {
		return nil, err
	}
	return &Template{from: Source{Text: source}, plain: compiled, tools: compiled}, nil
}

func compile(source string) (*jinja.Template, error) {
	if err := check(source); err != nil {
		return nil, err
	}
	compiled, err := jinja.Compile(prepare(source))
	if err != nil {
		return nil, fmt.Errorf("chat: template: %w", err)
	}
	return compiled, nil
}

// Source returns the template's source, without the one for tools where a
// model has two.
func (t *Template) Source() string { return t.from.Text }

// Options are what a template sees besides the messages.
type Options struct {
	// AddGenerationPrompt ends the prompt with the start of the answer.
	AddGenerationPrompt bool
	// Tools are the definitions of the tools that the model may call, each a
	// JSON object.
	Tools []json.RawMessage
	// BOS and EOS are the tokens' text, "" where the model has none.
	BOS, EOS string
	// Variables are further variables by name, such as enable_thinking; see
	// [Given].
	Variables map[string]json.RawMessage
	// Now is what strftime_now tells; zero is the current time.
	Now time.Time
}

// Is reports whether t is made of s, word for word.
func (t *Template) Is(s Source) bool { return t.from == s }

// Render returns the prompt of a conversation. If the template refuses the
// conversation, the error is a [*RaisedError].
func (t *Template) Render(messages []Message, o Options) (string, error) {
	values := make(map[string]jinja.Value, len(o.Variables)+8)
	for name, raw := range o.Variables {
		value, err := ordered(raw)
		if err != nil {
			return "", fmt.Errorf("chat: variable %s: %w", name, err)
		}
		values[name] = value
	}
	turns := make([]jinja.Value, len(messages))
	for i := range messages {
		var err error
		if turns[i], err = messages[i].value(); err != nil {
			return "", fmt.Errorf("chat: message %d: %w", i, err)
		}
	}
	compiled, tools := t.plain, jinja.None()
	if len(o.Tools) > 0 {
		list := make([]jinja.Value, len(o.Tools))
		for i, raw := range o.Tools {
			var err error
			if list[i], err = ordered(raw); err != nil {
				return "", fmt.Errorf("chat: tool %d: %w", i, err)
			}
			if !list[i].IsDict() {
				return "", fmt.Errorf("chat: tool %d is not a JSON object", i)
			}
		}
		compiled, tools = t.tools, jinja.NewList(list)
	}
	maps.Copy(values, given(turns, tools, o))
	prompt, err := compiled.RenderValues(values)
	if err != nil {
		var raised *RaisedError
		if errors.As(err, &raised) {
			return "", raised
		}
		return "", fmt.Errorf("chat: template: %w", err)
	}
	return prompt, nil
}

// given is what every template sees by itself.
func given(turns []jinja.Value, tools jinja.Value, o Options) map[string]jinja.Value {
	return map[string]jinja.Value{
		"messages":              jinja.NewList(turns),
		toolsName:               tools,
		"documents":             jinja.None(),
		"add_generation_prompt": jinja.NewBool(o.AddGenerationPrompt),
		"bos_token":             jinja.NewString(o.BOS),
		"eos_token":             jinja.NewString(o.EOS),
		"raise_exception":       jinja.NewCallable("raise_exception", raise),
		"strftime_now":          jinja.NewCallable("strftime_now", clock(o.Now)),
		"range":                 jinja.NewCallable("range", boundedRange),
		macroCall:               jinja.NewCallable(macroCall, countMacroCalls()),
		jsonFilter:              jinja.NewCallable(jsonFilter, toJSON),
	}
}

// Given reports whether a template sees something else by that name whatever
// the Variables are: they cannot replace it.
func Given(name string) bool {
	_, ok := given(nil, jinja.None(), Options{})[name]
	return ok
}

func raise(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) != 1 {
		return jinja.Undefined(), fmt.Errorf("raise_exception takes one argument, not %d", len(args))
	}
	return jinja.Undefined(), &RaisedError{text(args[0])}
}

// text is a value as a template prints it.
func text(v jinja.Value) string {
	if v.IsString() {
		return v.AsString()
	}
	return v.String()
}
