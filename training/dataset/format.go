package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// Format turns records into examples.
type Format interface {
	Example(r *Record) (Example, error)
	// Reads lists the columns that say something to the format.
	Reads() []string
}

// Columns names the columns that a format reads.
type Columns struct {
	Prompt      string   `name:"prompt-column" help:"Column of the prompt." default:"prompt"`
	Completion  string   `name:"completion-column" help:"Column of the completion." default:"completion"`
	Instruction string   `name:"instruction-column" help:"Column of the instruction." default:"instruction"`
	Input       string   `name:"input-column" help:"Column of the instruction's input." default:"input"`
	Output      string   `name:"output-column" help:"Column of the instruction's answer." default:"output"`
	Messages    string   `name:"messages-column" help:"Column of the chat messages." default:"messages"`
	Text        string   `name:"text-column" help:"Column of plain text." default:"text"`
	Pair        string   `name:"pair-column" help:"Column of the second of a pair of texts, of a head." default:"text_pair"`
	Label       string   `name:"label-column" help:"Column of a text's label, of a head: a class's name or number, a list of them, or a number to regress." default:"label"`
	Words       string   `name:"words-column" help:"Column of the words, of a head that tags them: a list." default:"tokens"`
	Tags        string   `name:"tags-column" help:"Column of their tags: a list of classes." default:"tags"`
	Ignore      []string `name:"ignore-columns" help:"Columns to pass over: one that nothing reads is refused otherwise." placeholder:"COLUMN"`
}

// Formats lists how files are read. NewFormat knows those of records, of which
// auto looks at the columns; documents and books are no records: see Corpus.
var Formats = []string{"auto", "prompt", "instruction", "chat", "text", documentsFormat, booksFormat}

// NewFormat returns the format of that name; auto is settled by the first
// record.
func NewFormat(name string, c Columns, first *Record, t Chat) (Format, error) {
	if name == "auto" {
		switch {
		case first.isList(c.Prompt) && first.isList(c.Completion): // TRL's conversations in two parts
			name, c.Messages = "chat", ""
		case first.Has(c.Prompt) && first.names(c.Completion):
			name = "prompt"
		case first.Has(c.Instruction) && first.names(c.Output):
			name = "instruction"
		case first.Has(c.Messages):
			name = "chat"
		case first.Has(shareGPT):
			name, c.Messages = "chat", shareGPT
		case first.names(c.Text):
			name = "text"
		default:
			return nil, first.fault("no format fits the columns %s: name them with --prompt-column and its like%s", strings.Join(first.Columns(), ", "), headsOf(first, c))
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
		if t.Template == nil {
			return nil, fmt.Errorf("%s: chat messages need a base with a chat template", first.File)
		}
		return chatFormat{c, t}, nil
	}
	return nil, fmt.Errorf("format %q is not known (%s)", name, strings.Join(Formats, ", "))
}

// headsOf says what would learn a row that has columns of a head's; empty: it has none.
func headsOf(r *Record, c Columns) string {
	switch {
	case r.names(c.Label):
		return "; peft-train run --objective classify (or multi-label, or regress) learns labels with a head"
	case r.names(c.Words) && r.names(c.Tags):
		return "; peft-train run --objective tag learns tags of words with a head"
	}
	return ""
}

type promptFormat struct{ Columns }

// wanted is KTO's column: whether the completion is one that is wanted.
const wanted = "label"

func (f promptFormat) Reads() []string { return []string{f.Prompt, f.Completion, wanted} }

func (f promptFormat) Example(r *Record) (Example, error) {
	prompt, err := r.Text(f.Prompt)
	if err != nil {
		return Example{}, err
	}
	completion, err := r.Answer(f.Completion)
	if err != nil {
		return Example{}, err
	}
	return Answered(prompt, completion), f.isWanted(r)
}

// isWanted refuses a row of KTO's whose completion is one to avoid.
func (f promptFormat) isWanted(r *Record) error {
	if f.Prompt == wanted || f.Completion == wanted || r.blank(wanted) {
		return nil
	}
	label, err := r.Text(wanted)
	switch {
	case err != nil:
		return err
	case strings.EqualFold(label, "false"):
		return r.fault("column %q is false: the completion is one to avoid, and nothing here learns from such rows: take them out", wanted)
	case !strings.EqualFold(label, "true"):
		return r.fault("column %q is %s, want true or false, whether the completion is wanted; --ignore-columns %[1]s passes over it", wanted, clip(label))
	}
	return nil
}

type textFormat struct{ Columns }

func (f textFormat) Reads() []string { return []string{f.Text} }

func (f textFormat) Example(r *Record) (Example, error) {
	text, err := r.Answer(f.Text)
	return Answered("", text), err
}

type instructionFormat struct{ Columns }

// Columns that go with Alpaca's: the row written out, as Stanford's file has
// it, and the answer's last words, as LLM-Adapters' have it.
var beside = []string{"text", "answer"}

func (f instructionFormat) Reads() []string {
	return append([]string{f.Instruction, f.Input, f.Output, "system", "history"}, beside...)
}

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
	for _, c := range []string{"system", "history"} { // LLaMA-Factory's
		if !r.blank(c) {
			return Example{}, r.fault("column %q: the prompt of an instruction has no place for it: write the row as %q", c, f.Messages)
		}
	}
	if err := f.isWhole(r, output); err != nil {
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
	return Answered(b.String(), output), nil
}

// isWhole refuses a text beside the row that is not the row written out.
func (f instructionFormat) isWhole(r *Record, output string) error {
	if r.blank("text") || slices.Contains([]string{f.Instruction, f.Input, f.Output}, "text") {
		return nil
	}
	text, err := r.Text("text")
	if err == nil && !strings.Contains(text, strings.TrimSpace(output)) {
		err = r.fault("column \"text\" is not read, and is not the row written out: the %s is not in it", f.Output)
	}
	return err
}
