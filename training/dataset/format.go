package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/chat"
)

// Piece is a run of text; the loss is on its tokens where Learn is set.
type Piece struct {
	Text  string
	Learn bool
}

// Example is what a record says: the pieces of one text, and whether it ends
// with the token that ends a text. Label is the index of the right answer
// where the format has a fixed set, -1 elsewhere.
type Example struct {
	Pieces []Piece
	Ends   bool
	Label  int
	Value  float64 // of a regression task
}

// Prompt is the text before the first piece that is learnt.
func (e Example) Prompt() string {
	var b strings.Builder
	for _, p := range e.Pieces {
		if p.Learn {
			break
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

// Answer is the text that is learnt after the prompt: of a conversation, the
// first turn.
func (e Example) Answer() string {
	for _, p := range e.Pieces {
		if p.Learn {
			return p.Text
		}
	}
	return ""
}

// Format turns records into examples.
type Format interface {
	Example(r *Record) (Example, error)
}

// Columns names the columns that a format reads.
type Columns struct {
	Prompt      string `name:"prompt-column" help:"Column of the prompt." default:"prompt"`
	Completion  string `name:"completion-column" help:"Column of the completion." default:"completion"`
	Instruction string `name:"instruction-column" help:"Column of the instruction." default:"instruction"`
	Input       string `name:"input-column" help:"Column of the instruction's input." default:"input"`
	Output      string `name:"output-column" help:"Column of the instruction's answer." default:"output"`
	Messages    string `name:"messages-column" help:"Column of the chat messages." default:"messages"`
	Text        string `name:"text-column" help:"Column of plain text." default:"text"`
}

// Formats lists the names that NewFormat knows; auto looks at the columns.
var Formats = []string{"auto", "prompt", "instruction", "chat", "text"}

// NewFormat returns the format of that name; auto is settled by the first
// record.
func NewFormat(name string, c Columns, first *Record, template *chat.Template) (Format, error) {
	if name == "auto" {
		switch {
		case first.Has(c.Prompt) && first.Has(c.Completion):
			name = "prompt"
		case first.Has(c.Instruction) && first.Has(c.Output):
			name = "instruction"
		case first.Has(c.Messages):
			name = "chat"
		case first.Has(shareGPT):
			name, c.Messages = "chat", shareGPT
		case first.Has(c.Text):
			name = "text"
		default:
			return nil, fmt.Errorf("%s:%d: no format fits the columns %s: name them with --prompt-column and its like",
				first.File, first.Line, strings.Join(first.Columns(), ", "))
		}
	}
	switch name {
	case "prompt":
		return promptFormat{c}, nil
	case "instruction":
		return instructionFormat{c}, nil
	case "text":
		return textFormat{c}, nil
	case "chat":
		if template == nil {
			return nil, fmt.Errorf("%s: chat messages need a base with a chat template", first.File)
		}
		return chatFormat{c, template}, nil
	}
	return nil, fmt.Errorf("format %q is not known (%s)", name, strings.Join(Formats, ", "))
}

type promptFormat struct{ Columns }

func (f promptFormat) Example(r *Record) (Example, error) {
	prompt, err := r.Text(f.Prompt)
	if err != nil {
		return Example{}, err
	}
	completion, err := r.Answer(f.Completion)
	if err != nil {
		return Example{}, err
	}
	return Example{Pieces: []Piece{{Text: prompt}, {Text: completion, Learn: true}}, Ends: true, Label: -1}, nil
}

type textFormat struct{ Columns }

func (f textFormat) Example(r *Record) (Example, error) {
	text, err := r.Answer(f.Text)
	return Example{Pieces: []Piece{{Text: text, Learn: true}}, Ends: true, Label: -1}, err
}

type instructionFormat struct{ Columns }

// Example writes the prompt of Stanford Alpaca (train.py).
func (f instructionFormat) Example(r *Record) (Example, error) {
	instruction, err := r.Text(f.Instruction)
	if err != nil {
		return Example{}, err
	}
	output, err := r.Answer(f.Output)
	if err != nil {
		return Example{}, err
	}
	input := ""
	if r.Has(f.Input) {
		if input, err = r.Text(f.Input); err != nil {
			return Example{}, err
		}
	}
	var b strings.Builder
	if input != "" {
		b.WriteString("Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n" + instruction + "\n\n### Input:\n" + input)
	} else {
		b.WriteString("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n" + instruction)
	}
	b.WriteString("\n\n### Response:\n")
	return Example{Pieces: []Piece{{Text: b.String()}, {Text: output, Learn: true}}, Ends: true, Label: -1}, nil
}

type chatFormat struct {
	Columns
	template *chat.Template
}

// Example renders the conversation with the base's template. What the
// assistant says is learnt: from where the template would let it begin to
// where its turn ends.
func (f chatFormat) Example(r *Record) (Example, error) {
	raw, err := r.Raw(f.Messages)
	if err != nil {
		return Example{}, err
	}
	var turns []turn
	if err := json.Unmarshal(raw, &turns); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return Example{}, r.fault("column %q is no list of messages: %s", f.Messages, clip(string(raw)))
		}
		return Example{}, r.fault("column %q: %w", f.Messages, err)
	}
	messages := make([]chat.Message, len(turns))
	for i, t := range turns {
		messages[i] = chat.Message(t)
	}
	if err := f.check(r, messages); err != nil {
		return Example{}, err
	}
	whole, err := f.template.Render(context.Background(), messages, chat.Options{})
	if err != nil {
		return Example{}, r.fault("%w", err)
	}
	e := Example{Label: -1}
	at := 0
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		before, err := f.template.Render(context.Background(), messages[:i], chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return Example{}, r.fault("%w", err)
		}
		after, err := f.template.Render(context.Background(), messages[:i+1], chat.Options{})
		if err != nil {
			return Example{}, r.fault("%w", err)
		}
		if !strings.HasPrefix(whole, before) || !strings.HasPrefix(whole, after) || len(before) < at {
			return Example{}, r.fault("the chat template writes turn %d differently with what follows: its answer cannot be told apart", i)
		}
		e.Pieces = append(e.Pieces, Piece{Text: whole[at:len(before)]}, Piece{Text: whole[len(before):len(after)], Learn: true})
		at = len(after)
	}
	if len(e.Pieces) == 0 {
		return Example{}, r.fault("no message is the assistant's")
	}
	return e, nil
}

// shareGPT is the column of a conversation in ShareGPT's files.
const shareGPT = "conversations"

// A turn is a message as OpenAI's API writes it or as ShareGPT does, in from
// and value.
type turn chat.Message

var speakers = map[string]string{"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system", "tool": "tool"}

func (t *turn) UnmarshalJSON(data []byte) error {
	var said struct {
		Role, From *string
		Value      string
	}
	err := json.Unmarshal(data, &said)
	if said.Role != nil || said.From == nil {
		return (*chat.Message)(t).UnmarshalJSON(data)
	}
	if err != nil {
		return err
	}
	role, ok := speakers[*said.From]
	if !ok {
		return fmt.Errorf("a message is from %q, not from %s", *said.From, strings.Join(slices.Sorted(maps.Keys(speakers)), ", "))
	}
	*t = turn{Role: role, Content: said.Value}
	return nil
}

// check refuses turns that say nothing.
func (f chatFormat) check(r *Record, messages []chat.Message) error {
	for i, m := range messages {
		if (m.Role == "user" || m.Role == "assistant") && strings.TrimSpace(m.Content) == "" && !m.HasToolCalls() {
			return r.fault("column %q: message %d, of the %s, is empty", f.Messages, i, m.Role)
		}
	}
	return nil
}
