package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// embedding is what a request wants of its texts.
type embedding struct {
	field      string              // of the texts
	prompt     *string             // the name of one that is put before each; nil: the base's own
	before     func(i int) *string // the same, of the i-th text; nil: all have the one
	truncate   bool                // texts that are too long are cut
	left       bool                // at their beginning, and not at their end
	raw        bool                // embeddings are not normalised, whatever the base's files say
	tokens     bool                // the hidden states of every token, and no embedding
	dimensions *int                // that are kept; nil: all
}

// embedded are the answers to the texts of a request, in their order.
type embedded struct {
	rows    []kernels.Matrix // one row each, or one a token
	tokens  int              // of all texts
	release func()           // of the memory set aside for the answer, once it is written
}

// maxNumbers is the most numbers that one request is answered with: 2,048 texts, as
// many as OpenAI takes, of 4,096 dimensions.
const maxNumbers = 2048 * 4096

// numberBytes is what one of them takes in memory, as a float and as text.
const numberBytes = 4 + 12

// embed computes embeddings of texts. field names the i-th of them.
func (s *Server) embed(c *fiber.Ctx, to selection, texts []prompt, field func(i int) string, what *embedding, arrived time.Time) (*embedded, error) {
	if s.recipeFault != nil {
		return nil, &failure{status: http.StatusBadRequest, kind: invalidRequest, code: "task_not_supported",
			message: s.recipeFault.Error() + ": start the server with --pooling to say how they are made"}
	}
	width := s.recipe.Width(s.base.Hidden)
	if d := what.dimensions; d != nil && (*d < 1 || *d > width) {
		return nil, invalid("dimensions", "dimensions is %d, outside 1 to %d", *d, width)
	}
	requests, numbers := make([]*runtime.Request, len(texts)), width*len(texts)
	answer := &embedded{rows: make([]kernels.Matrix, len(texts))}
	if what.tokens {
		numbers = 0
	}
	if numbers > maxNumbers {
		return nil, tooMany(what.field, numbers)
	}
	for i, text := range texts {
		if text.tokens != nil && what.prompt != nil {
			return nil, invalid("prompt_name", "prompt_name is put before texts, and %s is given in tokens: leave it out, or give the text", field(i))
		}
		before, err := s.promptOf(what, i)
		if err != nil {
			return nil, err
		}
		r, err := s.embeddingRequest(c, to, field(i), before, text, what)
		if err != nil {
			return nil, err
		}
		if r.Arrived = arrived; what.tokens {
			if numbers += len(r.Prompt) * s.base.Hidden; numbers > maxNumbers {
				return nil, tooMany(what.field, numbers)
			}
		}
		answer.tokens += len(r.Prompt)
		requests[i] = r
	}
	var err error
	if answer.release, err = s.takeForBody(memory.Bodies, numberBytes*int64(numbers)); err != nil {
		return nil, err
	}
	if err := s.encodeAll(c, requests, what, answer); err != nil {
		answer.release()
		return nil, err
	}
	return answer, nil
}

func tooMany(field string, numbers int) error {
	return invalid(field, "%s asks for %d numbers: ask for at most %d at a time, of fewer texts", field, numbers, maxNumbers)
}

// encodeAll runs the requests and finishes what comes of each.
func (s *Server) encodeAll(c *fiber.Ctx, requests []*runtime.Request, what *embedding, answer *embedded) error {
	g, err := s.generate(c, requests)
	if err != nil {
		return err
	}
	defer g.end()
	var timing timing
	for {
		e, err := g.next()
		if errors.Is(err, runtime.ErrEnd) {
			timing.headers(c, g)
			return nil
		}
		if err != nil {
			return err
		}
		timing.add(e)
		if !what.tokens {
			e.Encoded = s.finish(e.Encoded.Row(0), what)
		}
		answer.rows[e.index] = e.Encoded
	}
}

// finish makes the embedding of a pooled row, as the base's files say.
func (s *Server) finish(row []float32, what *embedding) kernels.Matrix {
	kept := 0
	if what.dimensions != nil {
		kept = *what.dimensions
	}
	row = s.recipe.Dimensions(row, kept)
	if s.recipe.Normalize && !what.raw {
		pooling.Normalize(row)
	}
	return kernels.MatrixOf(1, len(row), row)
}

// promptOf is what is put before the i-th text.
func (s *Server) promptOf(what *embedding, i int) (string, error) {
	name := what.prompt
	if what.before != nil {
		name = cmp.Or(what.before(i), name)
	}
	if name == nil {
		return s.recipe.Prompts[s.recipe.Prompt], nil
	}
	text, ok := s.recipe.Prompts[*name]
	if !ok {
		return "", invalid("prompt_name", "prompt_name %q is none of the prompts that the base's files have: %s", *name, s.recipe.PromptNames())
	}
	return text, nil
}

// embeddingRequest is the runtime's request for a text.
func (s *Server) embeddingRequest(c *fiber.Ctx, to selection, field, before string, text prompt, what *embedding) (*runtime.Request, error) {
	r := &runtime.Request{
		Lease: to.lease, Tenant: to.who.tenant, Group: group(c), Scope: to.who.scope, Prompt: text.tokens,
		Encode: runtime.EncodeFolded, Pooling: s.recipe.Modes, Logprobs: -1, PromptLogprobs: -1,
	}
	if what.tokens {
		r.Encode, r.Pooling = runtime.EncodeTokens, nil
	}
	if text.tokens == nil {
		if text.text == "" {
			return nil, invalid(field, "%s is empty: give some text", field)
		}
		ids, skipped, err := s.encodeText(c, to, field, before, text.text, what)
		if err != nil {
			return nil, err
		}
		if r.Prompt = ids; !what.tokens {
			r.PoolFrom = skipped
		}
	} else if most := s.longestText(to); what.truncate && len(r.Prompt) > most {
		r.Prompt = tokenizer.Cut(r.Prompt, most, what.left)
	}
	return r, s.fitsText(to, r, field)
}

// encodeText returns the tokens of a text behind a prompt, cut if that is wanted, and
// the number of those that pooling passes over.
func (s *Server) encodeText(c *fiber.Ctx, to selection, field, before, text string, what *embedding) (ids []int32, skipped int, err error) {
	t, whole, most := to.text, s.recipe.Case(before+text), s.longestText(to)
	limits := pooling.Limits{Room: most, Left: what.left}
	if !what.truncate {
		limits = pooling.Limits{Max: countedContexts * most}
		if least := t.AtLeast(whole); least > most {
			return nil, 0, tooLong(field, "%s has %d bytes, which are at least %d tokens: %s", field, len(whole), least, s.longestTextSays(to))
		}
	}
	ctx, done := s.attendLong(c, whole)
	defer done()
	made, err := s.recipe.Encode(ctx, t, before, text, limits)
	if err != nil {
		return nil, 0, s.textFault(ctx, to, field, err)
	}
	return made.Tokens, made.Passed, nil
}

func (s *Server) textFault(ctx context.Context, to selection, field string, err error) error {
	var long *tokenizer.TooLongError
	if errors.As(err, &long) {
		return tooLong(field, "%s has %d bytes and more than %d tokens: %s", field, long.Bytes, long.Max, s.longestTextSays(to))
	}
	return s.encodeFault(ctx, field, err, tooLong, "")
}

// longestText is the most tokens that a text may have that is embedded.
func (s *Server) longestText(to selection) int {
	return s.recipe.Longest(to.room(s.context))
}

func (s *Server) longestTextSays(to selection) string {
	if n := s.longestText(to); n < to.room(s.context) {
		return fmt.Sprintf("this base's longest text is %d (%s)", n, s.recipe.MaxFrom)
	}
	return s.longestBeside(to)
}

// fitsText is fits of a text that is embedded.
func (s *Server) fitsText(to selection, r *runtime.Request, field string) error {
	if most := s.longestText(to); len(r.Prompt) > most {
		return tooLong(field, "%s has %d tokens: %s", field, len(r.Prompt), s.longestTextSays(to))
	}
	return s.fits(to, r, field, "")
}
