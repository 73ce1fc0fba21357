package serve

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/models/chat"
)

// chatTurns are the messages, to be read when they are known not to be too many.
type chatTurns []json.RawMessage

func (t *chatTurns) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case 'n':
		return nil
	case '[':
		if err := few(path, raw); err != nil {
			return err
		}
		for _, turn := range elements(raw) {
			*t = append(*t, turn)
		}
		return nil
	}
	return wrongType(path, raw, "an array")
}

// count is how many turns there are, and parts and calls of these.
func (t chatTurns) count() int {
	n := len(t)
	for _, turn := range t {
		if classOf(turn) != '{' {
			continue
		}
		for _, value := range members(turn) {
			if classOf(value) == '[' {
				n += counted(value)
			}
		}
	}
	return n
}

func (t chatTurns) read() ([]chatMessage, error) {
	messages := make([]chatMessage, len(t))
	for i, turn := range t {
		if err := decodeInto(fmt.Sprintf("messages[%d]", i), turn, &messages[i]); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// chatMessage is a message, read strictly: what OpenAI's API has is checked
// here, anything else must be read by the chat template.
type chatMessage struct {
	chat.Message
	path   string // of it in the request
	unread unreads
}

// chatMessageShape is every field of a message that OpenAI's API has, and what
// others have that is harmless where a template does not read it.
type chatMessageShape struct {
	unreads
	Role         *string         `json:"role"`
	Content      chatContent     `json:"content"`
	Name         *string         `json:"name"`
	ID           ignored         `json:"id"`
	Reasoning    *string         `json:"reasoning_content"`
	Thought      *string         `json:"reasoning"`
	ToolCalls    []chatCallShape `json:"tool_calls"`
	ToolCallID   *string         `json:"tool_call_id"`
	Refusal      unimplemented   `json:"refusal"`
	Audio        unimplemented   `json:"audio"`
	FunctionCall unimplemented   `json:"function_call"`
	Annotations  unimplemented   `json:"annotations" only:"[]"`
}

type chatCallShape struct {
	unreads
	ID       string            `json:"id"`
	Type     string            `json:"type"`
	Index    ignored           `json:"index"`
	Function chatFunctionShape `json:"function"`
}

type chatFunctionShape struct {
	unreads
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// chatContent is a string, null, or parts: texts and, of an assistant, refusals.
type chatContent struct {
	given   bool   // neither left out nor null
	refusal string // the path of the first
	unread  unreads
}

type chatPartShape struct {
	unreads
	Type    string  `json:"type"`
	Text    *string `json:"text"`
	Refusal *string `json:"refusal"`
}

func (c *chatContent) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case '"':
		c.given = true
		var text string
		return decodeInto(path, raw, &text)
	case 'n':
		return nil
	case '[':
		if c.given = counted(raw) > 0; !c.given {
			return &fieldError{path, "is an empty array: give at least one part"}
		}
		for i, part := range elements(raw) {
			at := fmt.Sprintf("%s[%d]", path, i)
			if err := c.part(at, part); err != nil {
				return err
			}
		}
		return nil
	}
	return wrongType(path, raw, "a string or an array of text parts")
}

func (c *chatContent) part(path string, raw json.RawMessage) error {
	if kind := typeOf(raw); kind != "" && kind != "text" && kind != partRefusal {
		return &fieldError{path + ".type", fmt.Sprintf("is %q: only text is implemented", kind)}
	}
	var shape chatPartShape
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	if shape.Type == partRefusal {
		c.refusal = cmp.Or(c.refusal, path)
	}
	c.unread = append(c.unread, shape.unreads...)
	_, err := partText(path, shape.Type, shape.Text, shape.Refusal)
	return err
}

// partText is the text of a part, which stands in the field that its type says.
func partText(path, kind string, text, refusal *string) (string, error) {
	field := "text"
	if kind == partRefusal {
		text, refusal, field = refusal, text, partRefusal
	}
	switch {
	case text == nil:
		return "", &fieldError{join(path, field), "is missing"}
	case refusal != nil:
		return "", &fieldError{path, "has a text and a refusal: give what its type says"}
	}
	return *text, nil
}

// partRefusal is the type of a part of an assistant's turn that was no answer, and the
// field that has its text.
const partRefusal = "refusal"

func (m *chatMessage) decodeField(path string, raw json.RawMessage) error {
	const want = ": give system, developer, user, assistant or tool"
	var shape chatMessageShape
	if classOf(raw) == 'n' {
		return wrongType(path, raw, "an object")
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	switch {
	case shape.Role == nil:
		return &fieldError{path + ".role", "is missing" + want}
	case !slices.Contains([]string{"system", "developer", "user", "assistant", "tool"}, *shape.Role):
		return &fieldError{path + ".role", fmt.Sprintf("is %q", *shape.Role) + want}
	}
	if !shape.Content.given && len(shape.ToolCalls) == 0 {
		return &fieldError{path + ".content", "is missing: give a text, or tool_calls" + shape.unreads.meant("content")}
	}
	if at := shape.Content.refusal; at != "" && *shape.Role != "assistant" {
		return &fieldError{at + ".type", fmt.Sprintf("is %q, and the role %q: only an assistant refuses", partRefusal, *shape.Role)}
	}
	if err := json.Unmarshal(raw, &m.Message); err != nil {
		return &fieldError{path, "cannot be used: " + err.Error()}
	}
	m.path = path
	m.unread = slices.Concat(shape.unreads, shape.Content.unread)
	for _, call := range shape.ToolCalls {
		m.unread = append(append(m.unread, call.unreads...), call.Function.unreads...)
	}
	return nil
}
