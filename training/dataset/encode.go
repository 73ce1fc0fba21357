package dataset

import (
	"context"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Encoder turns examples into sequences.
type Encoder struct {
	Tokenizer *tokenizer.Tokenizer
	End       int32 // the token that ends a text; negative: none
	MaxLength int   // tokens; longer ones are cut
	// LearnPrompt puts the loss on prompts too.
	LearnPrompt bool
}

// Sequence encodes each piece by itself, so that a prompt has the tokens that
// it has when it is served alone. What is too long loses the beginning of its
// prompt, but for the special tokens, and then its end.
func (e *Encoder) Sequence(x Example) (s Sequence, cut bool, err error) {
	var tokens []int32
	var learn []bool
	for i, p := range x.Pieces {
		if tokens, err = e.Tokenizer.AppendEncode(context.Background(), tokens, p.Text, tokenizer.Options{AddSpecial: i == 0}); err != nil {
			return s, false, err
		}
		for len(learn) < len(tokens) {
			learn = append(learn, p.Learn || e.LearnPrompt)
		}
	}
	if x.Ends && e.End >= 0 {
		tokens, learn = append(tokens, e.End), append(learn, true)
	}
	if over := len(tokens) - e.MaxLength; over > 0 {
		tokens, learn = e.shorten(tokens, learn, over)
		cut = true
	}
	s = Sequence{Tokens: tokens, Targets: make([]int32, len(tokens))}
	for i := range tokens {
		s.Targets[i] = None
		if i+1 < len(tokens) && learn[i+1] {
			s.Targets[i] = tokens[i+1]
		}
	}
	return s, cut, nil
}

// Prompt encodes the prompt of an example alone. What is too long loses its
// beginning, but for the special tokens.
func (e *Encoder) Prompt(x Example) ([]int32, error) {
	tokens, err := e.Tokenizer.AppendEncode(context.Background(), nil, x.Prompt(), tokenizer.Options{AddSpecial: true})
	if err != nil {
		return nil, err
	}
	if over := len(tokens) - e.MaxLength; over > 0 {
		tokens, _ = e.shorten(tokens, make([]bool, len(tokens)), over)
	}
	return tokens, nil
}

func (e *Encoder) shorten(tokens []int32, learn []bool, over int) ([]int32, []bool) {
	lead := 0
	for lead < len(tokens) && e.Tokenizer.IsSpecial(tokens[lead]) {
		lead++
	}
	prompt := lead
	for prompt < len(tokens) && !learn[prompt] {
		prompt++
	}
	// One token of the prompt stays, to predict from.
	if n := min(over, prompt-lead-1); n > 0 {
		tokens = append(tokens[:lead:lead], tokens[lead+n:]...)
		learn = append(learn[:lead:lead], learn[lead+n:]...)
	}
	n := min(len(tokens), e.MaxLength)
	return tokens[:n], learn[:n]
}
