package main

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/runtime"
)

// answer is all of a stream that depends on the request alone.
type answer struct {
	tokens   []int32
	logprobs []runtime.Logprob // of the tokens and, after each, of the likeliest
	prompt   []runtime.PromptToken
	text     string
	encoded  []kernels.Matrix // rows, where those were asked for
	finish   runtime.Finish
	err      error
}

// collect reads a stream to its end, or leaves after that many tokens; below 0:
// it never does.
func collect(ctx context.Context, s *runtime.Stream, leave int) (a answer) {
	for leave < 0 || len(a.tokens) < leave {
		event, err := s.Next(ctx)
		if errors.Is(err, runtime.ErrEnd) {
			return a
		}
		if err != nil {
			a.err = err
			return a
		}
		if event.Token != runtime.NoToken {
			a.tokens = append(a.tokens, event.Token)
			a.logprobs = append(a.logprobs, runtime.Logprob{Token: event.Token, Logprob: event.Logprob})
			a.logprobs = append(a.logprobs, event.Top...)
		}
		a.prompt = append(a.prompt, event.Prompt...)
		a.text += event.Text
		if !event.Encoded.Empty() {
			a.encoded = append(a.encoded, event.Encoded)
		}
		a.finish = event.Finish
	}
	s.Close()
	return a
}

// same reports whether two answers have the same bits; their errors, the same
// words.
func (a answer) same(b answer) bool {
	return slices.Equal(a.tokens, b.tokens) && slices.EqualFunc(a.logprobs, b.logprobs, sameLogprob) &&
		slices.EqualFunc(a.prompt, b.prompt, func(x, y runtime.PromptToken) bool {
			return sameLogprob(x.Logprob, y.Logprob) && slices.EqualFunc(x.Top, y.Top, sameLogprob)
		}) && slices.EqualFunc(a.encoded, b.encoded, sameRows) && a.text == b.text && a.finish == b.finish && words(a.err) == words(b.err)
}

func sameRows(x, y kernels.Matrix) bool {
	if x.Rows != y.Rows || x.Cols != y.Cols {
		return false
	}
	for i := range x.Rows {
		if !slices.EqualFunc(x.Row(i), y.Row(i), func(v, w float32) bool { return math.Float32bits(v) == math.Float32bits(w) }) {
			return false
		}
	}
	return true
}

func sameLogprob(x, y runtime.Logprob) bool {
	return x.Token == y.Token && math.Float32bits(x.Logprob) == math.Float32bits(y.Logprob)
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
