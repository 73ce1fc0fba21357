package serve

import (
	"errors"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// openInference is the dialect of KServe's Open Inference Protocol, version 2:
// its statuses are TGI's.
var openInference = dialect{
	errorBody: func(f *failure) any { return fiber.Map{"error": f.message} },
	status:    tgi.status,
}

// inferenceRequest is the body of POST /v2/models/{name}/generate.
type inferenceRequest struct {
	unreads
	ID         *string             `json:"id"`
	Input      *string             `json:"text_input"`
	Parameters inferenceParameters `json:"parameters"`
}

type inferenceParameters struct {
	unreads
	MaxTokens   *int          `json:"max_tokens"`
	Temperature *float64      `json:"temperature"`
	TopP        *float64      `json:"top_p"`
	TopK        *int          `json:"top_k"`
	Frequency   *float64      `json:"frequency_penalty"`
	Repetition  *float64      `json:"repetition_penalty"`
	Seed        *seedNumber   `json:"seed"`
	Stop        []string      `json:"stop"`
	Details     *bool         `json:"details"`
	BestOf      unimplemented `json:"best_of" only:"1"`
}

// defaultInferenceTokens is the protocol's max_tokens.
const defaultInferenceTokens = 20

// inferenceAnswer is a whole answer, and an event of a stream.
type inferenceAnswer struct {
	ID      *string           `json:"id,omitempty"`
	Model   string            `json:"model_name"`
	Version string            `json:"model_version,omitempty"` // the adapter's digest
	Output  string            `json:"text_output"`
	Done    *bool             `json:"done,omitempty"` // of an event
	Details *inferenceDetails `json:"details,omitempty"`
}

// inferenceDetails has all tokens of a whole answer, one of an event.
type inferenceDetails struct {
	FinishReason *string    `json:"finish_reason"`
	Logprobs     []tgiToken `json:"logprobs,omitempty"`
	Token        *tgiToken  `json:"token,omitempty"`
}

func (s *Server) inferenceGenerate(c *fiber.Ctx) error { return s.answerInference(c, false) }

func (s *Server) inferenceStream(c *fiber.Ctx) error { return s.answerInference(c, true) }

func (s *Server) answerInference(c *fiber.Ctx, stream bool) error {
	var body inferenceRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	arrived := time.Now()
	if err := body.check(); err != nil {
		return err
	}
	model, err := url.PathUnescape(c.Params("name"))
	if err != nil {
		return invalid("name", "the path names no model: %s", err)
	}
	to, err := s.selected(c, naming{where: "the path", name: model})
	if err != nil {
		return err
	}
	defer to.lease.Release()
	request, err := s.inferenceRequest(c, &body, to)
	if err != nil {
		return err
	}
	request.Arrived = arrived
	g, err := s.generate(c, []*runtime.Request{request})
	if err != nil {
		return err
	}
	w := &inferenceWriter{
		generation: g, body: &body, answer: inferenceAnswer{ID: body.ID, Model: to.lease.Name()},
		tokens: generateWriter{text: to.text, decoder: to.text.NewDecoder(false)},
	}
	if to.lease == nil {
		w.answer.Model = s.config.Name
	}
	if stream {
		return s.stream(c, g, openInference, w)
	}
	defer g.end()
	var timing timing
	for {
		e, err := g.next()
		if errors.Is(err, runtime.ErrEnd) {
			timing.headers(c, g)
			return writeJSON(c, fiber.StatusOK, w.whole())
		}
		if err != nil {
			return err
		}
		w.tokens.take(e)
		timing.add(e)
	}
}

// alike are the parameters that TGI has too, with TGI's meaning.
func (p *inferenceParameters) alike() *generateParameters {
	return &generateParameters{Temperature: p.Temperature, TopK: p.TopK, TopP: p.TopP, Repetition: p.Repetition, Frequency: p.Frequency, Seed: p.Seed, Stop: p.Stop}
}

// check reports what is wrong with a body by itself.
func (r *inferenceRequest) check() error {
	if err := r.Parameters.alike().check(); err != nil {
		return err
	}
	switch most := r.Parameters.MaxTokens; {
	case r.Input == nil:
		return invalid("text_input", "text_input is missing: give the text to continue")
	case most != nil && *most < 0:
		return invalid("parameters.max_tokens", "parameters.max_tokens is %d, below 0", *most)
	}
	return nil
}

// inferenceRequest is the runtime's request for body: greedy unless asked for,
// or implying, a random choice, as in TGI.
func (s *Server) inferenceRequest(c *fiber.Ctx, body *inferenceRequest, to selection) (*runtime.Request, error) {
	p := &body.Parameters
	prompt, err := s.encode(c, to.text, "text_input", *body.Input, true)
	if err != nil {
		return nil, err
	}
	r := &runtime.Request{
		Lease: to.lease, Tenant: to.who.tenant, Group: group(c), Scope: to.who.scope, Prompt: prompt, Sampling: p.alike().sampling(),
		Stop: p.Stop, Logprobs: -1, PromptLogprobs: -1,
	}
	if or(p.Details, false) {
		r.Logprobs = 0
	}
	if err := s.setLength(to, r, p.MaxTokens, defaultInferenceTokens, "parameters.max_tokens"); err != nil {
		return nil, err
	}
	return r, s.fits(to, r, "text_input", "parameters.max_tokens")
}

// inferenceWriter writes the events of one sequence. The stop string that ended
// it is not part of the text.
type inferenceWriter struct {
	generation *generation
	body       *inferenceRequest
	answer     inferenceAnswer
	tokens     generateWriter
}

func (w *inferenceWriter) whole() inferenceAnswer {
	a := w.answer
	a.Version, a.Output = w.generation.lease.Digest(), w.tokens.cut.String()
	if or(w.body.Parameters.Details, false) {
		reason := w.tokens.reason()
		a.Details = &inferenceDetails{FinishReason: &reason, Logprobs: w.tokens.tokens}
	}
	return a
}

func (w *inferenceWriter) write(out *eventStream, e choiceEvent) error {
	token := w.tokens.take(e)
	done := e.Finish != ""
	if token == nil && !done {
		return nil
	}
	a := w.answer
	a.Version, a.Output, a.Done = w.generation.lease.Digest(), e.Text, &done
	if or(w.body.Parameters.Details, false) {
		a.Details = &inferenceDetails{Token: token}
		if done {
			reason := w.tokens.reason()
			a.Details.FinishReason = &reason
		}
	}
	return out.send(a)
}

// close adds nothing: the last event is done.
func (w *inferenceWriter) close(*eventStream) error { return nil }

// live answers while the process serves.
func (s *Server) live(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, fiber.Map{"live": true})
}

// inferenceReady answers whether new requests are taken.
func (s *Server) inferenceReady(c *fiber.Ctx) error {
	if s.requests.isLeaving() {
		return draining()
	}
	return writeJSON(c, fiber.StatusOK, fiber.Map{"ready": true})
}
