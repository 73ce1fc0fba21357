package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ardanlabs/jinja"
)

// A Message is one turn of a conversation. It unmarshals from the JSON of the
// OpenAI API.
type Message struct {
	Role    string
	Content string
	// Name is the participant's or, in a tool's answer, the tool's.
	Name string
	// Reasoning is what the model thought before the answer.
	Reasoning string
	// ToolCalls are the calls that an assistant's turn makes.
	ToolCalls []ToolCall
	// ToolCallID is the call that a tool's turn answers.
	ToolCallID string
}

// A ToolCall is a call of a function that the model asks for.
type ToolCall struct {
	ID        string
	Name      string
	Arguments json.RawMessage // a JSON object
}

// UnmarshalJSON reads a message. Its content is a string, null, or a list of
// text parts, which are joined by line breaks; a part that is not text is an
// error.
func (m *Message) UnmarshalJSON(data []byte) error {
	var f struct {
		Role       string          `json:"role"`
		Content    json.RawMessage `json:"content"`
		Name       string          `json:"name"`
		Reasoning  string          `json:"reasoning_content"`
		ToolCalls  []ToolCall      `json:"tool_calls"`
		ToolCallID string          `json:"tool_call_id"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.Role == "" {
		return errors.New("a message has no role")
	}
	content, err := textOf(f.Content)
	if err != nil {
		return err
	}
	*m = Message{f.Role, content, f.Name, f.Reasoning, f.ToolCalls, f.ToolCallID}
	return nil
}

// textOf reads the content of a message.
func textOf(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	if raw[0] != '[' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", errors.New("content is neither a string nor a list of parts")
		}
		return text, nil
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", fmt.Errorf("content: %w", err)
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		if part.Type != "text" || part.Text == nil {
			return "", fmt.Errorf("content part %d has type %q; only text is supported", i, part.Type)
		}
		texts[i] = *part.Text
	}
	return strings.Join(texts, "\n"), nil
}

// UnmarshalJSON reads {"id", "type": "function", "function": {"name",
// "arguments"}}. The arguments are an object or, as the OpenAI API has them, a
// string that holds one.
func (c *ToolCall) UnmarshalJSON(data []byte) error {
	var f struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.Type != "" && f.Type != "function" {
		return fmt.Errorf("tool call %q has type %q; only function is supported", f.ID, f.Type)
	}
	if f.Function.Name == "" {
		return fmt.Errorf("tool call %q names no function", f.ID)
	}
	arguments := bytes.TrimSpace(f.Function.Arguments)
	if len(arguments) > 0 && arguments[0] == '"' {
		var text string
		if err := json.Unmarshal(arguments, &text); err != nil {
			return err
		}
		arguments = bytes.TrimSpace([]byte(text))
	}
	if len(arguments) == 0 {
		arguments = []byte("{}")
	}
	if arguments[0] != '{' || !json.Valid(arguments) {
		return fmt.Errorf("tool call %q: the arguments of %s are not a JSON object", f.ID, f.Function.Name)
	}
	*c = ToolCall{f.ID, f.Function.Name, arguments}
	return nil
}

// value returns the message as a template sees it: only what it has.
func (m *Message) value() (jinja.Value, error) {
	v := jinja.NewDict()
	d := v.AsDict()
	d.Set("role", jinja.NewString(m.Role))
	d.Set("content", jinja.NewString(m.Content))
	for _, field := range []struct{ name, text string }{
		{"name", m.Name}, {"reasoning_content", m.Reasoning}, {"tool_call_id", m.ToolCallID},
	} {
		if field.text != "" {
			d.Set(field.name, jinja.NewString(field.text))
		}
	}
	if len(m.ToolCalls) == 0 {
		return v, nil
	}
	calls := make([]jinja.Value, len(m.ToolCalls))
	for i, call := range m.ToolCalls {
		arguments, err := ordered(call.Arguments)
		if err != nil {
			return v, fmt.Errorf("arguments of %s: %w", call.Name, err)
		}
		function, outer := jinja.NewDict(), jinja.NewDict()
		function.AsDict().Set("name", jinja.NewString(call.Name))
		function.AsDict().Set("arguments", arguments)
		if call.ID != "" {
			outer.AsDict().Set("id", jinja.NewString(call.ID))
		}
		outer.AsDict().Set("type", jinja.NewString("function"))
		outer.AsDict().Set("function", function)
		calls[i] = outer
	}
	d.Set("tool_calls", jinja.NewList(calls))
	return v, nil
}
