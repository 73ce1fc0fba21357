package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// classifiable is one text, or a pair of texts, or the tokens of a text.
type classifiable struct {
	field  string // for errors
	text   string
	second *string // nil: it is no pair
	tokens []int32 // not nil: it is given in tokens
}

// given refuses a text without any.
func (t *classifiable) given() error {
	if t.tokens == nil && t.second == nil && t.text == "" {
		return invalid(t.field, "%s is empty: give some text", t.field)
	}
	return nil
}

// classification is what a request wants of its texts.
type classification struct {
	field      string // of the texts
	truncate   bool   // texts that are too long are cut
	left       bool   // at their beginning, and not at their end
	activation string // what makes probabilities of scores; empty: as the head's problem is
}

// classified is what a head made of a text.
type classified struct {
	classifiable
	ids    []int32
	scores [][]float64      // a row, or one a token: probabilities, unless the request or the problem wants none
	spans  []tokenizer.Span // of the ids, in characters; of tokens that are classified
	around [2]int           // ids that stand before and behind the text's own
}

// classesOf are those that a request's adapter tells apart, or else the base.
func (s *Server) classesOf(to selection) (*models.Classes, error) {
	classes := s.base.Classes
	if to.lease != nil {
		if own := to.lease.Adapter().Classes(); own != nil {
			classes = own
		}
	}
	if classes != nil {
		return classes, nil
	}
	message := "the base has no head: name an adapter that brings one as model (task_type SEQ_CLS or TOKEN_CLS)"
	if to.lease != nil {
		message = fmt.Sprintf("adapter %q has no head, and the base has none: name an adapter that brings one as model (task_type SEQ_CLS or TOKEN_CLS)", to.lease.Name())
	}
	return nil, &failure{status: http.StatusBadRequest, kind: invalidRequest, code: "task_not_supported", param: "model", message: message}
}

// classify runs the texts and returns what the head made of each, and the number of
// tokens of all. release is for when the answer is written.
func (s *Server) classify(c *fiber.Ctx, to selection, classes *models.Classes, texts []classifiable, what *classification, arrived time.Time) (_ []classified, read int, release func(), err error) {
	all, requests := make([]classified, len(texts)), make([]*runtime.Request, len(texts))
	tokens, numbers := 0, 0
	for i, text := range texts {
		all[i].classifiable = text
		r := &runtime.Request{
			Lease: to.lease, Tenant: to.who.tenant, Group: group(c), Scope: to.who.scope,
			Encode: runtime.EncodeScores, Logprobs: -1, PromptLogprobs: -1, Arrived: arrived,
		}
		if err := s.classifiedTokens(c, to, classes, &all[i], what, r); err != nil {
			return nil, 0, nil, err
		}
		if err := s.fits(to, r, text.field, ""); err != nil {
			return nil, 0, nil, err
		}
		requests[i] = r
		tokens += len(r.Prompt)
		rows := 1
		if classes.Task == models.Tag {
			rows = len(r.Prompt)
		}
		if numbers += rows * len(classes.Names); numbers > maxNumbers {
			return nil, 0, nil, invalid(what.field, "%s asks for more than %d scores: give fewer texts at a time", what.field, maxNumbers)
		}
	}
	release, err = s.takeForBody(memory.Bodies, 4*numberBytes*int64(numbers)+nameBytes(classes, len(texts), tokens)) // by number and by name
	if err != nil {
		return nil, 0, nil, err
	}
	if err := s.scoreAll(c, requests, classes, what, all); err != nil {
		release()
		return nil, 0, nil, err
	}
	return all, tokens, release, nil
}

// nameBytes is what the names of classes take in an answer: all of them for each text,
// or one for each token.
func nameBytes(classes *models.Classes, texts, tokens int) int64 {
	sum, longest := 0, 0
	for _, name := range classes.Names {
		sum, longest = sum+len(name), max(longest, len(name))
	}
	if classes.Task == models.Tag {
		return int64(tokens) * int64(longest)
	}
	return int64(texts) * int64(sum)
}

// scoreAll runs the requests and makes probabilities of what comes of each.
func (s *Server) scoreAll(c *fiber.Ctx, requests []*runtime.Request, classes *models.Classes, what *classification, all []classified) error {
	g, err := s.generate(c, requests)
	if err != nil {
		return err
	}
	defer g.end()
	activate := activationOf(classes, what.activation)
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
		all[e.index].scores = make([][]float64, e.Encoded.Rows)
		for i := range e.Encoded.Rows {
			all[e.index].scores[i] = activate(e.Encoded.Row(i))
		}
	}
}

// The values of activation.
const (
	softmaxed = "softmax"
	sigmoid   = "sigmoid"
	noneOf    = "none"
)

// activationOf is what makes probabilities of scores: as the request says, or as the
// problem is.
func activationOf(classes *models.Classes, asked string) func([]float32) []float64 {
	switch problem := classes.Solved(); {
	case asked != "":
	case classes.Task == models.Tag || problem == models.SingleLabel:
		asked = softmaxed
	case problem == models.MultiLabel:
		asked = sigmoid
	}
	return func(scores []float32) []float64 {
		p := make([]float64, len(scores))
		sum, most := 0.0, float64(slices.Max(scores))
		for i, v := range scores {
			switch asked {
			case softmaxed:
				p[i] = math.Exp(float64(v) - most)
				sum += p[i]
			case sigmoid:
				p[i] = 1 / (1 + math.Exp(-float64(v)))
			default:
				p[i] = float64(v)
			}
		}
		if asked == softmaxed {
			for i := range p {
				p[i] /= sum
			}
		}
		return p
	}
}

// classifiedTokens gives a request the tokens of a text and their types.
func (s *Server) classifiedTokens(c *fiber.Ctx, to selection, classes *models.Classes, text *classified, what *classification, r *runtime.Request) (err error) {
	defer func() { text.ids = r.Prompt }()
	switch {
	case text.tokens != nil:
		if classes.Task == models.Tag {
			return invalid(text.field, "%s is given in tokens, and the head classifies the tokens of a text: give the text", text.field)
		}
		if r.Prompt = text.tokens; what.truncate && len(r.Prompt) > to.room(s.context) {
			r.Prompt = tokenizer.Cut(r.Prompt, to.room(s.context), what.left)
		}
		return nil
	case text.second != nil:
		return s.pairTokens(c, to, classes, text, what, r)
	}
	if err := text.given(); err != nil {
		return err
	}
	if least := to.text.AtLeast(text.text); !what.truncate && least > s.context {
		return tooLong(text.field, "%s has %d bytes, which are at least %d tokens: %s", text.field, len(text.text), least, s.longest())
	}
	ctx, done := s.attendLong(c, text.text)
	defer done()
	o := tokenizer.Options{Once: true}
	if !what.truncate {
		o.Max = countedContexts * s.context
	}
	ids, spans, _, err := to.text.EncodeSpans(ctx, text.text, o)
	if err != nil {
		return s.classifyFault(ctx, text.field, err)
	}
	first, last := to.text.Around(ids)
	if room := max(to.room(s.context)-len(first)-len(last), 0); what.truncate && len(ids) > room {
		if what.left {
			spans = spans[len(ids)-room:]
		}
		ids, spans = tokenizer.Cut(ids, room, what.left), spans[:room]
	}
	r.Prompt = slices.Concat(first, ids, last)
	if classes.Task == models.Tag {
		for i := range spans { // a space before a word is no part of it
			for spans[i].Start < spans[i].End && text.text[spans[i].Start] == ' ' {
				spans[i].Start++
			}
		}
		at := inCharacters(text.text, spans)
		text.around = [2]int{len(first), len(last)}
		text.spans = slices.Concat(make([]tokenizer.Span, len(first)), at, make([]tokenizer.Span, len(last)))
	}
	return nil
}

// pairTokens are those of two texts, with the types that the tokenizer gives them,
// where the base has types.
func (s *Server) pairTokens(c *fiber.Ctx, to selection, classes *models.Classes, text *classified, what *classification, r *runtime.Request) error {
	switch {
	case classes.Task == models.Tag:
		return invalid(text.field, "%s is a pair of texts, and the head classifies the tokens of one text", text.field)
	case what.truncate:
		ids, types, err := s.pairOf(c, to, text, what)
		if r.Prompt = ids; s.base.TokenTypes > 1 {
			r.Types = types
		}
		return err
	}
	both := text.text + *text.second
	ctx, done := s.attendLong(c, both)
	defer done()
	ids, types, err := to.text.EncodePair(ctx, text.text, *text.second, tokenizer.Options{Max: countedContexts * s.context})
	if err != nil {
		return s.classifyFault(ctx, text.field, err)
	}
	if r.Prompt = ids; s.base.TokenTypes > 1 {
		r.Types = types
	}
	return nil
}

func (s *Server) classifyFault(ctx context.Context, field string, err error) error {
	var long *tokenizer.TooLongError
	if errors.As(err, &long) {
		return tooLong(field, "%s has %d bytes and more than %d tokens: %s", field, long.Bytes, long.Max, s.longest())
	}
	return s.encodeFault(ctx, field, err, tooLong, "")
}

// labelScore is a class with its score.
type labelScore struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// ranked are the classes of a row by their scores, the highest first, of equal ones
// the lower number; at most so many.
func ranked(classes *models.Classes, scores []float64, most int) []labelScore {
	all := make([]labelScore, len(scores))
	for i, v := range scores {
		all[i] = labelScore{classes.Names[i], v}
	}
	slices.SortStableFunc(all, func(a, b labelScore) int { return cmp.Compare(b.Score, a.Score) })
	return all[:min(most, len(all))]
}

// highest is the number of the class with the highest score, of equal ones the lowest.
func highest(scores []float64) int { return slices.Index(scores, slices.Max(scores)) }
