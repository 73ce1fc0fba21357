package pooling

import (
	"context"
	"strings"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Limits say how long a text may become.
type Limits struct {
	Room int  // tokens that are kept, special ones included; 0: all
	Left bool // what has no room is cut at the beginning, and not at the end
	Max  int  // tokens after which encoding is given up (tokenizer.Options); 0: none
}

// A Text is one in tokens.
type Text struct {
	Tokens []int32
	Passed int  // tokens that pooling passes over
	Cut    bool // not all of the text had room
}

// Case is a text in the letters in which it becomes tokens.
func (r *Recipe) Case(text string) string {
	if r.Lower {
		return strings.ToLower(text)
	}
	return text
}

// Longest is the number of tokens that a text may have where there is room for so many.
func (r *Recipe) Longest(room int) int {
	if r.MaxTokens > 0 {
		return min(room, r.MaxTokens)
	}
	return room
}

// Encode makes tokens of a text behind a prompt, with those around it that are special.
func (r *Recipe) Encode(ctx context.Context, t *tokenizer.Tokenizer, before, text string, l Limits) (made Text, err error) {
	before, text = r.Case(before), r.Case(text)
	ids, err := t.AppendEncode(ctx, nil, before+text, tokenizer.Options{Max: l.Max})
	if err != nil {
		return made, err
	}
	first, last := t.Around(nil)
	if room := max(l.Room-len(first)-len(last), 0); l.Room > 0 && len(ids) > room {
		ids, made.Cut = tokenizer.Cut(ids, room, l.Left), true
	}
	if r.WithoutPrompt && before != "" {
		// sentence-transformers counts the tokens of the prompt by itself, without the
		// special one that ends a text.
		alone, err := t.AppendEncode(ctx, nil, before, tokenizer.Options{})
		if err != nil {
			return made, err
		}
		made.Passed = len(first) + len(alone)
	}
	made.Tokens = make([]int32, 0, len(first)+len(ids)+len(last))
	made.Tokens = append(append(append(made.Tokens, first...), ids...), last...)
	made.Passed = min(made.Passed, max(len(made.Tokens)-1, 0))
	return made, nil
}

// Dimensions makes of a pooled row what is served of it: the modules Dense, and the
// first so many columns of what they make; 0: all.
func (r *Recipe) Dimensions(row []float32, n int) []float32 {
	for _, d := range r.Dense {
		row = d.Forward(row)
	}
	if n > 0 {
		row = row[:n]
	}
	return row
}

// Embedding makes an embedding of a pooled row.
func (r *Recipe) Embedding(row []float32) []float32 {
	row = r.Dimensions(row, 0)
	if r.Normalize {
		Normalize(row)
	}
	return row
}
