package dataset

import (
	"context"
	"slices"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// forHead lays an example out for the head of a task, with the tokens that the server
// would give it. What is too long loses its end, of a pair the end of the longer text.
func (e *Encoder) forHead(x Example) (s Sequence, cut bool, err error) {
	s.Whole = true
	if x.Second != nil {
		s.Tokens, s.Types, cut, err = e.pair(x.Text, *x.Second)
	} else {
		var starts []int
		if s.Tokens, starts, cut, err = e.single(x); err == nil && e.Head.Task == models.Tag {
			s.Targets = make([]int32, len(s.Tokens))
			for i := range s.Targets {
				s.Targets[i] = None
			}
			for word, at := range starts {
				if at >= 0 {
					s.Targets[at] = int32(x.Tags[word])
				}
			}
		}
	}
	if err != nil || e.Head.Task == models.Tag {
		return s, cut, err
	}
	s.Targets, s.Values = make([]int32, len(s.Tokens)), x.Values
	for i := range s.Targets {
		s.Targets[i] = None
	}
	s.Targets[e.Head.Place(s.Tokens, 0)] = int32(x.Label)
	return s, cut, nil
}

// single are the tokens of one text and, of words, the place of the first token of each;
// -1: it has none, or none that is left.
func (e *Encoder) single(x Example) (tokens []int32, starts []int, cut bool, err error) {
	var ids []int32
	if e.Head.Task != models.Tag {
		ids, err = e.Tokenizer.AppendEncode(context.Background(), nil, x.Text, tokenizer.Options{})
	} else {
		ids, starts, err = e.words(x)
	}
	if err != nil {
		return nil, nil, false, err
	}
	before, after := e.Tokenizer.Around(ids)
	if room := max(e.MaxLength-len(before)-len(after), 0); len(ids) > room {
		ids, cut = tokenizer.Cut(ids, room, false), true
	}
	for i, at := range starts {
		if at >= len(ids) {
			starts[i] = -1
		} else if at >= 0 {
			starts[i] += len(before)
		}
	}
	return slices.Concat(before, ids, after), starts, cut, nil
}

// words are the tokens of a text of words, and the places of the first token of each.
func (e *Encoder) words(x Example) (ids []int32, starts []int, err error) {
	ids, spans, _, err := e.Tokenizer.EncodeSpans(context.Background(), x.Text, tokenizer.Options{})
	if err == nil {
		starts, err = e.starts(x.Words, ids, spans)
	}
	return ids, starts, err
}

// starts are the places of the first token of each word, -1 of one that has none, in
// the ids of the words with a space between them: by the tokens of each word alone or,
// where those are not the text's, by the characters that a token spans.
func (e *Encoder) starts(words []string, ids []int32, spans []tokenizer.Span) ([]int, error) {
	starts := make([]int, len(words))
	var together []int32
	for i, word := range words {
		if i > 0 {
			word = " " + word
		}
		own, err := e.Tokenizer.AppendEncode(context.Background(), nil, word, tokenizer.Options{})
		if err != nil {
			return nil, err
		}
		if starts[i] = len(together); len(own) == 0 {
			starts[i] = -1
		}
		together = append(together, own...)
	}
	if slices.Equal(together, ids) {
		return starts, nil
	}
	at, token := 0, 0
	for i, word := range words {
		for token < len(spans) && spans[token].End <= at {
			token++
		}
		starts[i] = -1
		if token < len(spans) && spans[token].Start >= at-1 && spans[token].Start < at+len(word) { // the space may be a part of it
			starts[i] = token
		}
		at += len(word) + 1
	}
	return starts, nil
}

// pair are the tokens of two texts, and their types where the base has types.
func (e *Encoder) pair(first, second string) (tokens, types []int32, cut bool, err error) {
	if tokens, types, err = e.Tokenizer.EncodePair(context.Background(), first, second, tokenizer.Options{}); err != nil {
		return nil, nil, false, err
	}
	if len(tokens) > e.MaxLength {
		var parts [2][]int32
		for i, text := range []string{first, second} {
			if parts[i], err = e.Tokenizer.AppendEncode(context.Background(), nil, text, tokenizer.Options{}); err != nil {
				return nil, nil, false, err
			}
		}
		around, _ := e.Tokenizer.JoinPair(nil, nil)
		parts[0], parts[1] = tokenizer.CutPair(parts[0], parts[1], max(e.MaxLength-len(around), 0), false)
		tokens, types = e.Tokenizer.JoinPair(parts[0], parts[1])
		cut = true
	}
	if !e.Types {
		types = nil
	}
	return tokens, types, cut, nil
}
