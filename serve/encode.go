package serve

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Bounds of a text that is to become tokens.
const (
	// longText is where encoding takes so long, in bytes, that it is worth
	// knowing whether the client still waits.
	longText = 64 << 10
	// maxTokenized is the most tokens that the tokenize routes answer with,
	// unless the context holds more.
	maxTokenized = 1 << 16
	// countedContexts is how many times the context a prompt's tokens are
	// counted, so that the client learns how many are too many.
	countedContexts = 2
)

// encode returns the tokens of a prompt, the text of that field. One that the
// context cannot hold is refused at once where its length tells that, and
// otherwise as soon as its tokens are far too many; if they are only too many,
// fits says how many they are.
func (s *Server) encode(c *fiber.Ctx, t *tokenizer.Tokenizer, field, text string, special bool) ([]int32, error) {
	if least := t.AtLeast(text); least > s.context {
		return nil, tooLong(field, "%s has %d bytes, which are at least %d tokens: %s, the answer included", field, len(text), least, s.longest())
	}
	ctx, done := s.attendLong(c, text)
	defer done()
	ids, err := t.AppendEncode(ctx, nil, text, tokenizer.Options{AddSpecial: special, Once: true, Max: countedContexts * s.context})
	return ids, s.encodeFault(ctx, field, err, tooLong, s.longest()+", the answer included")
}

// encodeLast is encode, but for the tokens before the last so many, which are left
// out; 0: none are.
func (s *Server) encodeLast(c *fiber.Ctx, t *tokenizer.Tokenizer, field, text string, special bool, last int) ([]int32, error) {
	if last == 0 {
		return s.encode(c, t, field, text, special)
	}
	ctx, done := s.attendLong(c, text)
	defer done()
	ids, err := t.AppendEncode(ctx, nil, text, tokenizer.Options{AddSpecial: special, Once: true, Max: max(s.context, maxTokenized)})
	return lastOf(ids, last), s.encodeFault(ctx, field, err, tooLong, "give less text at a time")
}

// lastOf are the last so many tokens; 0: all.
func lastOf(ids []int32, last int) []int32 {
	if last == 0 || last >= len(ids) {
		return ids
	}
	return ids[len(ids)-last:]
}

// tokens are those of a text that is not run, with the part of it that each
// stands for.
func (s *Server) tokens(c *fiber.Ctx, t *tokenizer.Tokenizer, field, text string, special bool) ([]int32, []tokenizer.Span, error) {
	ctx, done := s.attendLong(c, text)
	defer done()
	ids, spans, _, err := t.EncodeSpans(ctx, text, tokenizer.Options{AddSpecial: special, Once: true, Max: max(s.context, maxTokenized)})
	return ids, spans, s.encodeFault(ctx, field, err, invalid, "give less text at a time")
}

// attendLong is attend where the text is long.
func (s *Server) attendLong(c *fiber.Ctx, text string) (context.Context, func()) {
	if len(text) < longText {
		return s.ctx, func() {}
	}
	return s.attend(c)
}

// encodeFault says which field could not be encoded, and what to do about it; long
// makes the refusal of one with too many tokens.
func (s *Server) encodeFault(ctx context.Context, field string, err error, long func(param, format string, args ...any) *failure, advice string) error {
	var tokens *tokenizer.TooLongError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tokens):
		return long(field, "%s has %d bytes and more than %d tokens: %s", field, tokens.Bytes, tokens.Max, advice)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return invalid(field, "%s: %s", field, err)
}
