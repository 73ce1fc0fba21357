package serve

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// completionsRequest is the body of POST /v1/completions.
type completionsRequest struct {
	openAIRequest
	Prompt   prompts       `json:"prompt"`
	Echo     *bool         `json:"echo"`
	Logprobs *int          `json:"logprobs"`
	Suffix   unimplemented `json:"suffix" only:"\"\""`
}

// completionsAnswer is an answer of /v1/completions, and a chunk of a stream.
type completionsAnswer struct {
	openAIHead
	Choices []completionsChoice `json:"choices"`
	Usage   *openAIUsage        `json:"usage,omitempty"`
}

type completionsChoice struct {
	Index        int                  `json:"index"`
	Text         string               `json:"text"`
	Logprobs     *completionsLogprobs `json:"logprobs"`
	FinishReason *string              `json:"finish_reason"`

	PromptLogprobs []promptLogprobs `json:"prompt_logprobs,omitempty"`
	PromptIDs      []int32          `json:"prompt_token_ids,omitempty"`
	IDs            []int32          `json:"token_ids,omitempty"`
}

// completionsLogprobs is one entry a token in each list.
type completionsLogprobs struct {
	Tokens   []string             `json:"tokens"`
	Logprobs []*float32           `json:"token_logprobs"`
	Top      []map[string]float32 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"`
}

// maxSequences is the most answers of one request: prompts times n.
const maxSequences = 4096

// defaultMaxTokens is OpenAI's for this route.
const defaultMaxTokens = 16

func (s *Server) completions(c *fiber.Ctx) error {
	body := completionsRequest{Prompt: nil}
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if err := body.check(); err != nil {
		return err
	}
	if len(body.Prompt) == 0 {
		return invalid("prompt", "prompt is missing: give the text to continue")
	}
	if count := len(body.Prompt) * or(body.N, 1); count > maxSequences {
		return invalid("prompt", "prompt and n ask for %d answers: ask for at most %d at a time", count, maxSequences)
	}
	if err := body.checkPromptLogprobs(s.config.MaxLogprobs); err != nil {
		return err
	}
	if body.Logprobs != nil && (*body.Logprobs < 0 || *body.Logprobs > s.config.MaxLogprobs) {
		return invalid("logprobs", "logprobs is %d, outside 0 to %d", *body.Logprobs, s.config.MaxLogprobs)
	}
	form, err := body.form()
	if err != nil {
		return err
	}
	arrived := time.Now()
	lora, err := s.loraNaming(c, body.LoRA)
	if err != nil {
		return err
	}
	to, err := s.selected(c, s.openAINaming(c, body.Model), lora)
	if err != nil {
		return err
	}
	defer to.lease.Release()
	if err := body.checkTokens(to.vocabulary); err != nil {
		return err
	}
	template := s.openAIRequest(c, &body.openAIRequest, to)
	template.Arrived = arrived
	var release func()
	if template.Constraint, release, err = s.constraint(tenantOf(c).Name, to, form); err != nil {
		return err
	}
	defer release()
	if body.Logprobs != nil {
		template.Logprobs = *body.Logprobs
		if or(body.Echo, false) {
			template.PromptLogprobs = max(template.PromptLogprobs, *body.Logprobs)
		}
	}
	w := completionsWriter{server: s, text: to.text, body: &body, head: s.textHead("cmpl-", "text_completion", to.lease)}
	kept := body.kept(s.context, s.roomFor(to, body.MaxTokens, defaultMaxTokens))
	for i, p := range body.Prompt {
		request := template
		field := "prompt"
		if len(body.Prompt) > 1 {
			field = fmt.Sprintf("prompt[%d]", i)
		}
		if p.tokens != nil {
			request.Prompt = lastOf(p.tokens, kept)
			if or(body.Echo, false) {
				body.Prompt[i].text = to.text.Decode(request.Prompt, !template.Special)
			}
		} else if request.Prompt, err = s.encodeLast(c, to.text, field, p.text, or(body.AddSpecial, true), kept); err != nil {
			return err
		} else if or(body.Echo, false) && body.Truncate != nil { // what is echoed is what is left of it
			body.Prompt[i] = prompt{to.text.Decode(request.Prompt, !template.Special), request.Prompt}
		}
		if err := s.setLength(to, &request, body.MaxTokens, defaultMaxTokens, "max_tokens"); err != nil {
			return err
		}
		if err := body.checkLength(&request); err != nil {
			return err
		}
		if err := s.fits(to, &request, field, "max_tokens"); err != nil {
			return err
		}
		w.requests = append(w.requests, repeat(request, or(body.N, 1))...)
	}
	g, err := s.generate(c, w.requests)
	if err != nil {
		return err
	}
	if body.streams() {
		return s.stream(c, g, openAI, &w)
	}
	defer g.end()
	return w.whole(c, g)
}

// completionsWriter writes the events of a generation as /v1/completions does.
type completionsWriter struct {
	server   *Server
	text     *tokenizer.Tokenizer
	body     *completionsRequest
	head     openAIHead
	requests []*runtime.Request
	usage    openAIUsage
	choices  []completionsState
}

// completionsState is what is known of a choice on the way.
type completionsState struct {
	placer *placer
	begun  bool
	made   int // tokens of the completion
}

// whole answers when every choice has finished.
func (w *completionsWriter) whole(c *fiber.Ctx, g *generation) error {
	answer := completionsAnswer{openAIHead: w.head, Choices: make([]completionsChoice, len(w.requests)), Usage: &w.usage}
	for i := range answer.Choices {
		answer.Choices[i].Index = i
	}
	var timing timing
	for {
		e, err := g.next()
		if errors.Is(err, runtime.ErrEnd) {
			timing.headers(c, g)
			return writeJSON(c, fiber.StatusOK, answer)
		}
		if err != nil {
			return err
		}
		piece, choice := w.piece(e), &answer.Choices[e.index]
		choice.Text += piece.Text
		choice.FinishReason = piece.FinishReason
		choice.Logprobs = choice.Logprobs.join(piece.Logprobs)
		choice.IDs = append(choice.IDs, piece.IDs...)
		if piece.PromptIDs != nil {
			choice.PromptIDs = piece.PromptIDs
		}
		if piece.PromptLogprobs != nil {
			choice.PromptLogprobs = piece.PromptLogprobs
		}
		timing.add(e)
	}
}

// write sends one event to a stream.
func (w *completionsWriter) write(out *eventStream, e choiceEvent) error {
	chunk := completionsAnswer{openAIHead: w.head, Choices: []completionsChoice{w.piece(e)}}
	if c := chunk.Choices[0]; c.Text == "" && c.Logprobs == nil && c.IDs == nil && c.PromptIDs == nil && c.FinishReason == nil {
		return nil // held back: part of a character, or of a stop string
	}
	chunk.Usage = w.body.usageSoFar(len(w.requests[e.index].Prompt), w.choices[e.index].made)
	return out.send(chunk)
}

// close ends a stream.
func (w *completionsWriter) close(out *eventStream) error {
	if w.body.includesUsage() {
		if err := out.send(completionsAnswer{openAIHead: w.head, Choices: []completionsChoice{}, Usage: &w.usage}); err != nil {
			return err
		}
	}
	return out.done()
}

// piece is what an event adds to its choice.
func (w *completionsWriter) piece(e choiceEvent) completionsChoice {
	if w.choices == nil {
		w.choices = make([]completionsState, len(w.requests))
	}
	n := or(w.body.N, 1)
	state := &w.choices[e.index]
	if e.Token != runtime.NoToken {
		state.made++
	}
	p := completionsChoice{Index: e.index, FinishReason: finishReason(e.Finish)}
	if !state.begun {
		state.begun = true
		if or(w.body.Echo, false) {
			p.Text = w.body.Prompt[e.index/n].text
		}
		if or(w.body.ReturnIDs, false) {
			p.PromptIDs = w.requests[e.index].Prompt
		}
		state.placer = newPlacer(w.text, !w.requests[e.index].Special, utf8.RuneCountInString(p.Text))
		if w.requests[e.index].Constraint != nil {
			state.placer.decoder.Continue()
		}
	}
	p.Text += e.Text
	if or(w.body.ReturnIDs, false) && e.Token != runtime.NoToken {
		p.IDs = []int32{e.Token}
	}
	if e.Prompt != nil && w.body.PromptLogprobs != nil {
		p.PromptLogprobs = promptLogprobsOf(w.text, e.Prompt, *w.body.PromptLogprobs)
	}
	if w.body.Logprobs != nil {
		p.Logprobs = w.logprobs(state.placer, e)
	}
	if e.Usage != nil {
		w.usage.add(*e.Usage, e.index%n == 0)
	}
	return p
}

func (w *completionsWriter) logprobs(at *placer, e choiceEvent) *completionsLogprobs {
	echoes := e.Prompt != nil && or(w.body.Echo, false)
	if !echoes && e.Token == runtime.NoToken {
		return nil
	}
	var l completionsLogprobs
	if !echoes {
		e.Prompt = nil
	}
	for i, at := range w.promptOffsets(e) {
		l.add(w.text, at, e.Prompt[i].Logprob, e.Prompt[i].Top, *w.body.Logprobs)
	}
	if e.Token != runtime.NoToken && e.Prompt == nil {
		l.add(w.text, at.place(e.Token), runtime.Logprob{Token: e.Token, Logprob: e.Logprob}, e.Top, *w.body.Logprobs)
	}
	return &l
}

// promptOffsets are where the tokens of the event's prompt begin in its text:
// the client's or, if it gave tokens, what they decode to.
func (w *completionsWriter) promptOffsets(e choiceEvent) []int {
	offsets := make([]int, len(e.Prompt))
	given, r := w.body.Prompt[e.index/or(w.body.N, 1)], w.requests[e.index]
	switch {
	case len(offsets) == 0:
	case given.tokens != nil:
		at := newPlacer(w.text, !r.Special, 0)
		for i, id := range r.Prompt {
			offsets[i] = at.place(id)
		}
	default:
		o := tokenizer.Options{AddSpecial: or(w.body.AddSpecial, true), Once: true}
		_, spans, _, err := w.text.EncodeSpans(w.server.ctx, given.text, o)
		if err != nil {
			return offsets // the server is shutting down: the text was encoded before
		}
		for i, at := range inCharacters(given.text, spans) {
			offsets[i] = at.Start
		}
	}
	return offsets
}

// add appends a token; the first of a prompt has no logprob.
func (l *completionsLogprobs) add(t *tokenizer.Tokenizer, at int, chosen runtime.Logprob, top []runtime.Logprob, wanted int) {
	l.Tokens = append(l.Tokens, tokenText(t, chosen.Token))
	l.Offsets = append(l.Offsets, at)
	if math.IsNaN(float64(chosen.Logprob)) {
		l.Logprobs, l.Top = append(l.Logprobs, nil), append(l.Top, nil)
		return
	}
	value := finite(chosen.Logprob)
	l.Logprobs = append(l.Logprobs, &value)
	beside := make(map[string]float32, wanted+1)
	for _, other := range likeliest(top[:min(wanted, len(top))], chosen) {
		text, p := tokenText(t, other.Token), finite(other.Logprob)
		if other, ok := beside[text]; !ok || p > other {
			beside[text] = p
		}
	}
	l.Top = append(l.Top, beside)
}

func (l *completionsLogprobs) join(next *completionsLogprobs) *completionsLogprobs {
	if l == nil || next == nil {
		if next != nil {
			return next
		}
		return l
	}
	l.Tokens = append(l.Tokens, next.Tokens...)
	l.Logprobs = append(l.Logprobs, next.Logprobs...)
	l.Top = append(l.Top, next.Top...)
	l.Offsets = append(l.Offsets, next.Offsets...)
	return l
}

// finite is a log-probability as JSON can say it: that of a token which cannot
// come is -9999, as in vLLM.
func finite(p float32) float32 {
	if math.IsInf(float64(p), -1) {
		return -9999
	}
	return p
}
