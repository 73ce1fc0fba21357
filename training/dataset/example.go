package dataset

import "github.com/peft-serve/peft-serve/models/tokenizer"

// Example is what a record says: one text, and what of it is learnt.
type Example struct {
	Text     string
	Learn    []tokenizer.Span // in order
	Rendered bool             // by a chat template, which writes the special tokens itself
	Ends     bool             // with the token that ends a text
	Label    int              // of a fixed set of answers the right one's index; elsewhere -1
	Value    float64          // of a regression

	// Of a head of a task, for which Learn is empty.
	Second *string   // of a pair of texts; nil: it is none
	Words  []string  // of Text, one space between them
	Tags   []int     // of the words
	Values []float32 // see Sequence

	Compared []string // texts whose embeddings are compared, Text the first of them
}

// Prompt is the text before what is learnt first; of a head, all.
func (x Example) Prompt() string {
	if len(x.Learn) == 0 {
		return x.Text
	}
	return x.Text[:x.Learn[0].Start]
}

// Answer is the text that is learnt first: of a conversation, a turn; of a head, none.
func (x Example) Answer() string {
	if len(x.Learn) == 0 {
		return ""
	}
	return x.Text[x.Learn[0].Start:x.Learn[0].End]
}

// Answered is a prompt with an answer to it.
func Answered(prompt, answer string) Example {
	whole := prompt + answer
	return Example{Text: whole, Learn: []tokenizer.Span{{Start: len(prompt), End: len(whole)}}, Ends: true, Label: -1}
}

// Prompt is a text for the model to go on from.
type Prompt struct {
	Text     string
	Rendered bool // by a chat template, which writes the special tokens itself
}
