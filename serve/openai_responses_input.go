package serve

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// responsesInput is what is to be answered: a text, or the items of a conversation, to
// be read when they are known not to be too many.
type responsesInput struct {
	text  *string
	items chatTurns
}

func (i *responsesInput) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case 'n':
		return nil
	case '"':
		i.text = new(string)
		return decodeInto(path, raw, i.text)
	case '[':
		return i.items.decodeField(path, raw)
	}
	return wrongType(path, raw, "a string or an array of items")
}

// A responsesTurn is a message of the chat that items make: those of one answer,
// reasoning, text and calls, are one.
type responsesTurn struct {
	path string // of its first item

	Role      string     `json:"role"`
	Content   any        `json:"content"` // a text, parts, or nil
	Reasoning string     `json:"reasoning_content,omitempty"`
	Calls     []chatCall `json:"tool_calls,omitempty"`
	CallID    string     `json:"tool_call_id,omitempty"`

	thoughts []string // that Reasoning is made of
}

// responsesTurns are the turns that the items so far make.
type responsesTurns struct {
	all    []responsesTurn
	called map[string]bool // the ids of the calls
}

// add adds a turn.
func (t *responsesTurns) add(turn responsesTurn) *responsesTurn {
	t.all = append(t.all, turn)
	return &t.all[len(t.all)-1]
}

// answer is the assistant's turn that an item goes on with that takes such a turn, or
// a new one.
func (t *responsesTurns) answer(path string, takes func(*responsesTurn) bool) *responsesTurn {
	if n := len(t.all); n > 0 && t.all[n-1].Role == "assistant" && takes(&t.all[n-1]) {
		return &t.all[n-1]
	}
	return t.add(responsesTurn{path: path, Role: "assistant"})
}

// messages are the conversation of a request: its instructions, and its input.
func (s *Server) messages(c *fiber.Ctx, r *responsesRequest) ([]chatMessage, error) {
	turns := responsesTurns{called: map[string]bool{}}
	if or(r.Instructions, "") != "" {
		turns.add(responsesTurn{path: "instructions", Role: "system", Content: *r.Instructions})
	}
	if r.Input.text != nil {
		turns.add(responsesTurn{path: "input", Role: "user", Content: *r.Input.text})
	}
	for i, raw := range r.Input.items {
		path := fmt.Sprintf("input[%d]", i)
		item, err := readItem(path, raw)
		if err != nil {
			return nil, err
		}
		if u := s.passOverInTurn(c, unreadIn(reflect.ValueOf(item))); u != nil {
			return nil, unknownField(*u)
		}
		if err := item.join(&turns, path); err != nil {
			return nil, err
		}
	}
	messages := make([]chatMessage, len(turns.all))
	for i, turn := range turns.all {
		turn.Reasoning = strings.Join(turn.thoughts, "")
		text, err := encode(turn)
		if err != nil {
			return nil, err
		}
		messages[i].path = turn.path
		if err := json.Unmarshal(text, &messages[i].Message); err != nil {
			return nil, &fieldError{turn.path, "cannot be used: " + err.Error()}
		}
	}
	return messages, nil
}

// A responsesItem is an item of an input.
type responsesItem interface {
	// join adds the item to the turns.
	join(turns *responsesTurns, path string) error
}

func readItem(path string, raw json.RawMessage) (item responsesItem, err error) {
	if classOf(raw) != '{' {
		return nil, wrongType(path, raw, "an object")
	}
	var kind struct {
		Type *string `json:"type"`
	}
	_ = json.Unmarshal(raw, &kind) // a type that is no string is said below
	switch or(kind.Type, "message") {
	case "message":
		item = new(messageItem)
	case "function_call":
		item = new(callItem)
	case "function_call_output":
		item = new(outputItem)
	case "reasoning":
		item = new(reasoningItem)
	case "item_reference":
		return nil, new(kept).decodeField(path, raw)
	default:
		return nil, &fieldError{path + ".type", fmt.Sprintf("is %q: give message, function_call, function_call_output or reasoning", *kind.Type)}
	}
	return item, decodeInto(path, raw, item)
}

// itemHead is what items have that is nothing to a prompt.
type itemHead struct {
	unreads
	Type   string  `json:"type"`
	ID     ignored `json:"id"`
	Status ignored `json:"status"`
}

type messageItem struct {
	itemHead
	Role    string      `json:"role"`
	Content itemContent `json:"content"`
	Phase   ignored     `json:"phase"`
}

func (m *messageItem) join(turns *responsesTurns, path string) error {
	switch {
	case !slices.Contains([]string{"system", "developer", "user", "assistant"}, m.Role):
		return &fieldError{path + ".role", fmt.Sprintf("is %q: give system, developer, user or assistant", m.Role)}
	case len(m.Content.texts) == 0:
		return &fieldError{path + ".content", "is missing: give a text, or parts"}
	case m.Role != "assistant":
		turns.add(responsesTurn{path: path, Role: m.Role, Content: m.Content.value()})
		return nil
	}
	turn := turns.answer(path, func(t *responsesTurn) bool { return t.Content == nil && len(t.Calls) == 0 })
	turn.Content = m.Content.value()
	return nil
}

type reasoningItem struct {
	itemHead
	Summary   itemContent   `json:"summary"`
	Content   itemContent   `json:"content"`
	Encrypted unimplemented `json:"encrypted_content"`
}

func (r *reasoningItem) join(turns *responsesTurns, path string) error {
	turn := turns.answer(path, func(t *responsesTurn) bool { return t.Content == nil && len(t.Calls) == 0 })
	texts := r.Content.texts
	if len(texts) == 0 {
		texts = r.Summary.texts
	}
	turn.thoughts = append(turn.thoughts, texts...)
	return nil
}

type callItem struct {
	itemHead
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func (c *callItem) join(turns *responsesTurns, path string) error {
	switch {
	case c.CallID == "":
		return &fieldError{path + ".call_id", "is missing"}
	case c.Name == "":
		return &fieldError{path + ".name", "is missing"}
	}
	turn := turns.answer(path, func(*responsesTurn) bool { return true })
	turn.Calls = append(turn.Calls, chatCall{ID: c.CallID, Type: "function", Function: chatCallFunction{c.Name, c.Arguments}})
	turns.called[c.CallID] = true
	return nil
}

type outputItem struct {
	itemHead
	CallID string      `json:"call_id"`
	Output itemContent `json:"output"`
}

func (o *outputItem) join(turns *responsesTurns, path string) error {
	switch {
	case !turns.called[o.CallID]:
		return &fieldError{path + ".call_id", fmt.Sprintf("is %q, and no function_call before it has that: send the call, too; the server is stateless, it keeps nothing", o.CallID)}
	case !o.Output.given:
		return &fieldError{path + ".output", "is missing"}
	}
	turns.add(responsesTurn{path: path, Role: "tool", CallID: o.CallID, Content: o.Output.value()})
	return nil
}

// itemContent is a text, or parts of one.
type itemContent struct {
	unreads
	given bool
	texts []string
}

// partTypes are those of parts that are text; chats' own is sent here, too.
var partTypes = []string{"input_text", "output_text", "reasoning_text", "summary_text", "text", partRefusal}

func (c *itemContent) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case 'n':
		return nil
	case '"':
		c.given, c.texts = true, make([]string, 1)
		return decodeInto(path, raw, &c.texts[0])
	case '[':
		c.given = true
		if err := few(path, raw); err != nil {
			return err
		}
		for i, part := range elements(raw) {
			text, err := c.part(fmt.Sprintf("%s[%d]", path, i), part)
			if err != nil {
				return err
			}
			c.texts = append(c.texts, text)
		}
		return nil
	}
	return wrongType(path, raw, "a string or an array of parts")
}

func (c *itemContent) part(path string, raw json.RawMessage) (text string, err error) {
	var kind struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &kind) == nil && !slices.Contains(partTypes, kind.Type) {
		return "", &fieldError{path + ".type", fmt.Sprintf("is %q: only text is implemented, input_text and output_text", kind.Type)}
	}
	var shape struct {
		unreads
		Type        string  `json:"type"`
		Text        *string `json:"text"`
		Refusal     *string `json:"refusal"`
		Annotations ignored `json:"annotations"`
		Logprobs    ignored `json:"logprobs"`
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return "", err
	}
	c.unreads = append(c.unreads, shape.unreads...)
	return partText(path, shape.Type, shape.Text, shape.Refusal)
}

// value is the content as a chat has it.
func (c *itemContent) value() any {
	type part struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	switch len(c.texts) {
	case 0:
		return ""
	case 1:
		return c.texts[0]
	}
	parts := make([]part, len(c.texts))
	for i, text := range c.texts {
		parts[i] = part{"text", text}
	}
	return parts
}
