package serve

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// generateAnswer is a whole answer.
type generateAnswer struct {
	Text    string           `json:"generated_text"`
	Details *generateDetails `json:"details,omitempty"`
}

type generateDetails struct {
	FinishReason string         `json:"finish_reason"`
	Prompt       int            `json:"prompt_tokens"`
	Generated    int            `json:"generated_tokens"`
	Seed         *uint64        `json:"seed"`
	Prefill      []prefillToken `json:"prefill"`
	Tokens       []tgiToken     `json:"tokens"`
}

type prefillToken struct {
	ID      int32    `json:"id"`
	Text    string   `json:"text"`
	Logprob *float32 `json:"logprob"`
}

type tgiToken struct {
	ID      int32   `json:"id"`
	Text    string  `json:"text"`
	Logprob float32 `json:"logprob"`
	Special bool    `json:"special"`
}

// generateEvent is one token of a stream; the last carries the text.
type generateEvent struct {
	Token   *tgiToken        `json:"token"`
	Text    *string          `json:"generated_text"`
	Details *streamedDetails `json:"details"`
}

type streamedDetails struct {
	FinishReason string  `json:"finish_reason"`
	Prompt       int     `json:"prompt_tokens"`
	Generated    int     `json:"generated_tokens"`
	Seed         *uint64 `json:"seed"`
}

// generateRoute answers POST /generate and /v1/generate.
func (s *Server) generateRoute(c *fiber.Ctx) error {
	return s.answerGenerate(c, false, func(a generateAnswer) any { return a })
}

// rootRoute answers POST /, which TGI's own clients use: a whole answer is in a
// list there.
func (s *Server) rootRoute(c *fiber.Ctx) error {
	return s.answerGenerate(c, false, func(a generateAnswer) any { return []generateAnswer{a} })
}

// generateStreamRoute answers the routes that always stream.
func (s *Server) generateStreamRoute(c *fiber.Ctx) error { return s.answerGenerate(c, true, nil) }

// answerGenerate streams if told to or asked for; whole lays out an answer that
// does not.
func (s *Server) answerGenerate(c *fiber.Ctx, stream bool, whole func(generateAnswer) any) error {
	var body generateRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	arrived := time.Now()
	if stream {
		body.Stream = &stream
	}
	if err := body.check(); err != nil {
		return err
	}
	form, err := body.Parameters.form()
	if err != nil {
		return err
	}
	merged, err := body.Parameters.Merged.naming()
	if err != nil {
		return err
	}
	to, err := s.selected(c, naming{where: "parameters.adapter_id", name: or(body.Parameters.AdapterID, "")}, merged)
	if err != nil {
		return err
	}
	defer to.lease.Release()
	request, err := s.generateRequest(c, &body, to)
	if err != nil {
		return err
	}
	var release func()
	if request.Constraint, release, err = s.constraint(tenantOf(c).Name, to, form); err != nil {
		return err
	}
	defer release()
	request.Arrived = arrived
	g, err := s.generate(c, []*runtime.Request{request})
	if err != nil {
		return err
	}
	w := &generateWriter{text: to.text, body: &body, request: request, decoder: to.text.NewDecoder(false)}
	if request.Constraint != nil {
		w.decoder.Continue()
	}
	if or(body.Stream, false) {
		return s.stream(c, g, dialectOf(c), w)
	}
	defer g.end()
	var timing timing
	for {
		e, err := g.next()
		if errors.Is(err, runtime.ErrEnd) {
			timing.headers(c, g)
			return writeJSON(c, fiber.StatusOK, whole(w.answer()))
		}
		if err != nil {
			return err
		}
		w.take(e)
		timing.add(e)
	}
}

// generateWriter gathers the events of one sequence.
type generateWriter struct {
	text    *tokenizer.Tokenizer
	body    *generateRequest
	request *runtime.Request
	decoder *tokenizer.Decoder

	cut     strings.Builder // the text, without the stop string
	ids     []int32
	tokens  []tgiToken
	prefill []prefillToken
	finish  runtime.Finish
	usage   runtime.Usage
}

// take adds an event and returns its token, if it has one.
func (w *generateWriter) take(e choiceEvent) *tgiToken {
	for _, p := range e.Prompt {
		token := prefillToken{ID: p.Token, Text: tokenText(w.text, p.Token)}
		if !math.IsNaN(float64(p.Logprob.Logprob)) {
			value := finite(p.Logprob.Logprob)
			token.Logprob = &value
		}
		w.prefill = append(w.prefill, token)
	}
	w.cut.WriteString(e.Text)
	if e.Finish != "" {
		w.finish, w.usage = e.Finish, *e.Usage
	}
	if e.Prompt != nil || e.Token == runtime.NoToken {
		return nil
	}
	w.ids = append(w.ids, e.Token)
	token := tgiToken{e.Token, w.decoder.Push(e.Token), finite(e.Logprob), w.text.IsSpecial(e.Token)}
	if e.Finish != "" {
		token.Text += w.decoder.Flush()
	}
	w.tokens = append(w.tokens, token)
	return &token
}

func (w *generateWriter) write(out *eventStream, e choiceEvent) error {
	token := w.take(e)
	if token == nil && e.Finish == "" {
		return nil
	}
	event := generateEvent{Token: token}
	if e.Finish != "" {
		text := w.generated()
		event.Text = &text
		if or(w.body.Parameters.Details, false) {
			event.Details = &streamedDetails{w.reason(), w.usage.PromptTokens, w.usage.CompletionTokens, w.seed()}
		}
	}
	return out.send(event)
}

// close adds nothing: [DONE] is OpenAI's.
func (w *generateWriter) close(*eventStream) error { return nil }

func (w *generateWriter) answer() generateAnswer {
	a := generateAnswer{Text: w.generated()}
	if or(w.body.Parameters.Details, false) {
		a.Details = &generateDetails{
			w.reason(), w.usage.PromptTokens, w.usage.CompletionTokens, w.seed(),
			append([]prefillToken{}, w.prefill...), append([]tgiToken{}, w.tokens...),
		}
	}
	return a
}

// generated is the text. TGI leaves the stop string that ended it in place.
func (w *generateWriter) generated() string {
	text := w.cut.String()
	if w.finish == runtime.FinishStop {
		if rest, ok := strings.CutPrefix(w.text.Decode(w.ids, true), text); ok {
			for _, stop := range w.request.Stop {
				if strings.HasPrefix(rest, stop) {
					text += stop
					break
				}
			}
		}
	}
	switch p := &w.body.Parameters; {
	case !or(p.ReturnFull, false):
		return text
	case p.Truncate != nil:
		return w.text.Decode(w.request.Prompt, true) + text
	}
	return *w.body.Inputs + text
}

func (w *generateWriter) reason() string {
	switch w.finish {
	case runtime.FinishEOS:
		return "eos_token"
	case runtime.FinishStop:
		return "stop_sequence"
	}
	return "length"
}

// seed is null where nothing is random.
func (w *generateWriter) seed() *uint64 {
	if w.request.Sampling.Temperature == 0 {
		return nil
	}
	return &w.usage.Seed
}
