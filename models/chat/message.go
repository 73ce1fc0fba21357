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
// None to it, and what is absent is not defined. Only a part that is a refusal is one
// of text to it, since templates know no other.
type Message struct {
	Role string
	// Content is the text; of a message in parts, theirs, joined by line
	// breaks; of one without, empty.
	Content string

	said   object          // nil: the role and the content
	parsed json.RawMessage // tool_calls with objects for arguments; nil: they are as said
}

// UnmarshalJSON reads a message as the OpenAI API has it. Its content is a
// string, null, or a list of parts; a part that is neither text nor a refusal, which
// is what an assistant wrote instead of an answer, is an error. The
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
	content := said.get("content")
	if read.Content, err = textOf(content); err != nil {
		return err
	}
	if asText, changed := refusalsAsText(content); changed {
		read.said.set("content", asText)
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
	var parts []contentPart
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", fmt.Errorf("content: %w", err)
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		switch {
		case part.Type == "text" && part.Text != nil:
			texts[i] = *part.Text
		case part.Type == "refusal" && part.Refusal != nil:
			texts[i] = *part.Refusal
		default:
			return "", fmt.Errorf("content part %d has type %q; only text is supported", i, part.Type)
		}
	}
	return strings.Join(texts, "\n"), nil
}

// contentPart is a part of a content that is a list.
type contentPart struct {
	Type    string  `json:"type"`
	Text    *string `json:"text"`
	Refusal *string `json:"refusal"`
}

// refusalsAsText is a content, which is right, with parts of text for its refusals;
// changed: it has some.
func refusalsAsText(content json.RawMessage) (asText json.RawMessage, changed bool) {
	var parts []json.RawMessage
	if json.Unmarshal(content, &parts) != nil {
		return nil, false
	}
	for i, raw := range parts {
		var part contentPart
		if json.Unmarshal(raw, &part) == nil && part.Type == "refusal" {
			parts[i] = slices.Concat([]byte(`{"type":"text","text":`), quoted(*part.Refusal), []byte("}"))
			changed = true
		}
	}
	if !changed {
		return nil, false
	}
	asText, err := json.Marshal(parts)
	if err != nil {
		panic(err) // they were read
	}
	return asText, true
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
