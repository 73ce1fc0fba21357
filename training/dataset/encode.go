package dataset

import (
	"context"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Encoder turns examples into sequences.
type Encoder struct {
	Tokenizer  *tokenizer.Tokenizer
	End        int32 // the token that ends a text; negative: none
	Vocabulary int   // rows of the base's embedding
	MaxLength  int   // tokens; longer ones are cut
	// Invocation is the tokens without which the adapter would not act on a
	// sequence (aLoRA); none: it acts on every one.
	Invocation []int32
	// LearnPrompt puts the loss on prompts too.
	LearnPrompt bool
	// Head is that of a task, for which texts are laid out as they are served to it; nil:
	// text is to be generated.
	Head  *models.Head
	Types bool // the base has types of tokens
	// Recipe is of embeddings, which texts are compared by; nil: they are not.
	Recipe *pooling.Recipe
}

// Sequence encodes the whole text at once: where the prompt ends, tokens are
// those of the text and not of its parts. A token is learnt where it has a
// character that is, so also one that begins in the prompt. What is too long
// loses the beginning of its prompt, but for the special tokens, and then its
// end.
func (e *Encoder) Sequence(x Example) (s Sequence, cut bool, err error) {
	switch {
	case e.Head != nil:
		return e.forHead(x)
	case e.Recipe != nil:
		all, cut, err := e.compared(x)
		if err != nil {
			return s, false, err
		}
		return all[0], cut, nil
	}
	tokens, learn, err := e.encode(x)
	if err != nil {
		return s, false, err
	}
	if over := len(tokens) - e.MaxLength; over > 0 {
		tokens, learn = e.shorten(tokens, learn, over)
		cut = true
	}
	return sequence(tokens, learn), cut, nil
}

func sequence(tokens []int32, learn []bool) Sequence {
	s := Sequence{Tokens: tokens, Targets: make([]int32, len(tokens))}
	for i := range tokens {
		s.Targets[i] = None
		if i+1 < len(tokens) && learn[i+1] {
			s.Targets[i] = tokens[i+1]
		}
	}
	return s
}

// Parts are the sequences of an example in packed windows. A text without a
// prompt that is too long is not cut but goes on in another sequence, whose
// first token is the target of the last position before it.
func (e *Encoder) Parts(x Example) (parts []Sequence, cut bool, err error) {
	if x.Prompt() != "" {
		s, cut, err := e.Sequence(x)
		return []Sequence{s}, cut, err
	}
	tokens, learn, err := e.encode(x)
	if err != nil {
		return nil, false, err
	}
	whole := sequence(tokens, learn)
	for from := 0; from < len(whole.Tokens); from += e.MaxLength {
		to := min(from+e.MaxLength, len(whole.Tokens))
		s := Sequence{Tokens: whole.Tokens[from:to], Targets: whole.Targets[from:to]}
		if from == 0 || s.Labels() > 0 { // the end token alone predicts nothing
			parts = append(parts, s)
		}
	}
	return parts, false, nil
}

// encode returns the tokens of an example, and which are learnt.
func (e *Encoder) encode(x Example) (tokens []int32, learn []bool, err error) {
	tokens, spans, exact, err := e.Tokenizer.EncodeSpans(context.Background(), x.Text, tokenizer.Options{})
	if err != nil {
		return nil, nil, err
	}
	if learn = make([]bool, len(tokens)); exact {
		bySpans(learn, spans, x.Learn, len(x.Text))
	} else if err := e.byPrefixes(learn, tokens, x); err != nil {
		return nil, nil, err
	}
	if !x.Rendered {
		before, after := e.Tokenizer.Around(tokens)
		tokens = slices.Concat(before, tokens, after)
		learn = slices.Concat(make([]bool, len(before)), learn, make([]bool, len(after)))
	}
	if x.Ends && e.End >= 0 {
		if n := len(tokens); n == 0 || tokens[n-1] != e.End { // nor is the end doubled
			tokens, learn = append(tokens, e.End), append(learn, true)
		}
		learn[len(learn)-1] = true
	}
	for i := range learn {
		learn[i] = learn[i] || e.LearnPrompt
	}
	return tokens, learn, nil
}

// bySpans marks the tokens that have a character in what is learnt; one without
// characters belongs to what follows it or, at the end of the text, to what is
// before it.
func bySpans(learn []bool, spans, learnt []tokenizer.Span, end int) {
	last := len(learnt) > 0 && learnt[len(learnt)-1].End == end
	for i, s := range spans {
		for len(learnt) > 0 && learnt[0].End <= s.Start {
			learnt = learnt[1:]
		}
		learn[i] = last && s.Start == end || len(learnt) > 0 && learnt[0].Start < max(s.End, s.Start+1)
	}
}

// byPrefixes marks the tokens from where the text before what is learnt, alone,
// has others, to where the text up to its end has.
func (e *Encoder) byPrefixes(learn []bool, tokens []int32, x Example) error {
	common := func(end int) (n int, all bool, err error) {
		alone, err := e.Tokenizer.Encode(x.Text[:end], false)
		for n < len(alone) && n < len(tokens) && alone[n] == tokens[n] {
			n++
		}
		return n, n == len(alone), err
	}
	for _, s := range x.Learn {
		from, _, err := common(s.Start)
		if err != nil {
			return err
		}
		to, all, err := common(s.End)
		if err != nil {
			return err
		}
		if !all { // a token goes over the end
			to++
		}
		for i := from; i < min(to, len(learn)); i++ {
			learn[i] = true
		}
	}
	return nil
}

// check refuses tokens that the base has no embedding for, and a sequence of
// which the adapter would learn nothing because it does not act on it.
func (e *Encoder) check(s Sequence) error {
	if i := slices.IndexFunc(s.Tokens, func(id int32) bool { return int(id) >= e.Vocabulary }); i >= 0 {
		return fmt.Errorf("token %d (%q) is none of the base's embedding, which has %d rows: the tokenizer is not this base's",
			s.Tokens[i], e.Tokenizer.Token(s.Tokens[i]), e.Vocabulary)
	}
	switch at := s.Activation(e.Invocation); {
	case at < 0:
		return fmt.Errorf("it has not the adapter's invocation tokens %v, without which the adapter does not act", e.Invocation)
	case at > s.Last():
		return fmt.Errorf("the adapter's invocation tokens %v stand only behind what is learnt, on which the adapter does not act: end the prompt with them", e.Invocation)
	}
	return nil
}

// Prompt encodes a prompt alone, as the server does. What is too long loses
// its beginning, but for the special tokens.
func (e *Encoder) Prompt(p Prompt) ([]int32, error) {
	tokens, err := e.Tokenizer.Encode(p.Text, !p.Rendered)
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
