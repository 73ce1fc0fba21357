package dataset

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/peft-serve/peft-serve/models/chat"
)

// Chat says how conversations are rendered, as the server renders them, and
// what of them is learnt.
type Chat struct {
	Template *chat.Template // nil: the base has none
	Special  []string       // the text of the special tokens
	Turns    string         // one of Turns
	Now      time.Time      // what a template is told
}

// Turns lists which turns of the assistant's are learnt.
var Turns = []string{"all", "last"}

type chatFormat struct {
	Columns
	Chat
}

// Reads implements Format. The prompt is what UltraChat's files repeat of the
// conversation, unless it is the conversation.
func (f chatFormat) Reads() []string {
	columns := []string{f.Messages, f.Columns.Prompt}
	if f.Messages == "" {
		columns = []string{f.Columns.Prompt, f.Completion}
	}
	return append(columns, "system", "tools", "chat_template_kwargs")
}

// conversation is a record as it is rendered.
type conversation struct {
	turns    []turn
	messages []chat.Message
	options  chat.Options
	wanted   []bool // by message: it is the assistant's and learnt
}

func (f chatFormat) conversation(r *Record) (c conversation, err error) {
	if c.turns, err = f.turns(r); err != nil {
		return c, err
	}
	if !r.blank("system") { // LLaMA-Factory's
		system, err := r.Text("system")
		if err != nil {
			return c, err
		}
		if len(c.turns) > 0 && c.turns[0].Role == "system" {
			return c, r.fault("column \"system\": the conversation has a system message of its own")
		}
		c.turns = slices.Insert(c.turns, 0, turn{Message: chat.Message{Role: "system", Content: system}})
	}
	for _, t := range c.turns {
		c.messages = append(c.messages, t.Message)
	}
	c.options.Now = f.Now
	if err := f.tools(r, &c.options); err != nil {
		return c, err
	}
	if !r.blank("chat_template_kwargs") { // TRL's
		raw, err := r.embedded("chat_template_kwargs", &c.options.Variables)
		if err != nil {
			return c, r.fault("column \"chat_template_kwargs\" is no object: %s", clip(string(raw)))
		}
		for name := range c.options.Variables {
			if chat.Given(name) {
				return c, r.fault("column \"chat_template_kwargs\": %q is what the template is given anyway", name)
			}
		}
		if name := f.Template.Unread(c.options); name != "" {
			return c, r.fault("column \"chat_template_kwargs\": the chat template does not read %q", name)
		}
	}
	return c, f.repeats(r, c.turns)
}

// tools reads the column of that name: a list or, as TRL has it, one in a
// string.
func (f chatFormat) tools(r *Record, o *chat.Options) error {
	if r.blank("tools") {
		return nil
	}
	raw, err := r.embedded("tools", &o.Tools)
	switch {
	case err != nil:
		return r.fault("column \"tools\" is no list: %s", clip(string(raw)))
	case len(o.Tools) > 0 && !f.Template.TakesTools():
		return r.fault("column \"tools\": the chat template has no place for tools")
	}
	return nil
}

// repeats refuses a prompt beside the conversation that is none of it.
func (f chatFormat) repeats(r *Record, turns []turn) error {
	if f.Messages == "" || f.Columns.Prompt == f.Messages || r.blank(f.Columns.Prompt) {
		return nil
	}
	prompt, err := r.Text(f.Columns.Prompt)
	if err == nil && !slices.ContainsFunc(turns, func(t turn) bool { return t.Content == prompt }) {
		err = r.fault("column %q is not read, and is no message of the conversation", f.Columns.Prompt)
	}
	return err
}

// Example renders the conversation with the base's template. What the
// assistant says is learnt: what the template marks as that or, where it marks
// nothing, from where the server would have it begin to where its turn ends.
func (f chatFormat) Example(r *Record) (Example, error) {
	c, err := f.conversation(r)
	if err != nil {
		return Example{}, err
	}
	last := lastOf(c.turns)
	if last < 0 {
		return Example{}, r.fault("no message is the assistant's")
	}
	for i, t := range c.turns {
		c.wanted = append(c.wanted, t.learn && (f.Turns != "last" || i == last))
	}
	if !slices.Contains(c.wanted, true) {
		return Example{}, r.fault("no turn of the assistant's is to be learnt: their weights are 0")
	}
	x := Example{Rendered: true, Label: -1}
	if f.Template.MarksGeneration() {
		x.Text, x.Learn, err = f.generated(c)
	} else {
		x.Text, x.Learn, err = f.aligned(c)
	}
	if err != nil {
		return Example{}, r.fault("%w", err)
	}
	return x, nil
}

// lastOf is the last turn of the assistant's.
func lastOf(turns []turn) int {
	for i := len(turns) - 1; i >= 0; i-- {
		if turns[i].Role == "assistant" {
			return i
		}
	}
	return -1
}

// Prompt is what the server renders for the first turn that is learnt.
func (f chatFormat) Prompt(r *Record) (Prompt, error) {
	c, err := f.conversation(r)
	if err != nil {
		return Prompt{}, err
	}
	i := lastOf(c.turns)
	if f.Turns != "last" {
		i = slices.IndexFunc(c.turns, func(t turn) bool { return t.learn })
	}
	text, err := c.render(f.Template, c.messages[:i], true)
	if err != nil {
		return Prompt{}, r.fault("%w", err)
	}
	return Prompt{Text: text, Rendered: true}, nil
}

func (c *conversation) render(t *chat.Template, messages []chat.Message, prompt bool) (string, error) {
	o := c.options
	o.AddGenerationPrompt = prompt
	return t.Render(context.Background(), messages, o)
}

// embedded reads the JSON value of a column, or the one in its string.
func (r *Record) embedded(column string, v any) (json.RawMessage, error) {
	raw, err := r.Raw(column)
	if err != nil {
		return nil, err
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	return raw, json.Unmarshal(raw, v)
}
