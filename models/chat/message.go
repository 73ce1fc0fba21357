package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

// A Message is one turn of a conversation: a role and a text, or what was read
// from JSON. A template sees whatever was written there, in its order: null is
// None to it, and what is absent is not defined.
type Message struct {
	Role string
	// Content is the text; of a message in parts, theirs, joined by line
	// breaks; of one without, empty.
	Content string

	said   object          // nil: the role and the content
	parsed json.RawMessage // tool_calls with objects for arguments; nil: they are as said
}

// UnmarshalJSON reads a message as the OpenAI API has it. Its content is a
// string, null, or a list of parts; a part that is not text is an error. The
// arguments of a call are an object or a string that holds one.
func (m *Message) UnmarshalJSON(data []byte) error {
	var said object
	if err := json.Unmarshal(data, &said); err != nil {
		return err
	}
	read := Message{said: said}
	if raw := said.get("role"); raw != nil {
		if err := json.Unmarshal(raw, &read.Role); err != nil {
			return errors.New("role is not a string")
		}
	}
	if read.Role == "" {
		return errors.New("a message has no role")
	}
	var err error
	if read.Content, err = textOf(said.get("content")); err != nil {
		return err
	}
	if read.parsed, err = parsedCalls(said.get("tool_calls")); err != nil {
		return err
	}
	*m = read
	return nil
}

// HasToolCalls reports whether the message calls tools.
func (m *Message) HasToolCalls() bool {
	var calls []json.RawMessage
	return json.Unmarshal(orNull(m.said.get("tool_calls")), &calls) == nil && len(calls) > 0
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

// textOf reads the content of a message.
func textOf(raw json.RawMessage) (string, error) {
	switch raw = orNull(raw); raw[0] {
	case 'n':
		return "", nil
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err
	case '[':
		break
	default:
		return "", errors.New("content is neither a string nor a list of parts")
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

// inForm returns the message as a template sees it that takes such forms; most
// messages have only one.
func (m *Message) inForm(takes func() forms) object {
	if m.said == nil {
		return object{{"role", quoted(m.Role)}, {"content", quoted(m.Content)}}
	}
	said := slices.Clone(m.said)
	if content := orNull(said.get("content")); content[0] == '[' && !takes().parts {
		said.set("content", quoted(m.Content))
	}
	if m.parsed != nil && !takes().strings {
		said.set("tool_calls", m.parsed)
	}
	return said
}

// quoted is a text in JSON.
func quoted(text string) json.RawMessage {
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // no string fails
	}
	return raw
}

// value is an object as a template's dictionary.
func (o object) value() (jinja.Value, error) {
	pairs := make([]jinja.Pair, len(o))
	for i, m := range o {
		v, err := jinja.FromJSON(m.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		pairs[i] = jinja.Pair{Key: jinja.String(m.name), Value: v}
	}
	return jinja.Dict(pairs...), nil
}
