package serve

import (
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// chatAnswer is a whole answer of /v1/chat/completions.
type chatAnswer struct {
	openAIHead
	Choices []chatChoice `json:"choices"`
	Usage   *openAIUsage `json:"usage"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatReply     `json:"message"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type chatReply struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

// chatChunk is an event of a stream.
type chatChunk struct {
	openAIHead
	Choices []chatDelta  `json:"choices"`
	Usage   *openAIUsage `json:"usage,omitempty"`
}

type chatDelta struct {
	Index        int           `json:"index"`
	Delta        chatAddition  `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type chatAddition struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatLogprobs struct {
	Content []chatToken `json:"content"`
	Refusal *string     `json:"refusal"`
}

type chatToken struct {
	chatTokenText
	Top []chatTokenText `json:"top_logprobs"`
}

type chatTokenText struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

func (s *Server) chatCompletions(c *fiber.Ctx) error {
	var body chatRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	arrived := time.Now()
	if err := body.check(s); err != nil {
		return err
	}
	form, err := body.form()
	if err != nil {
		return err
	}
	lora, err := s.loraNaming(c, body.LoRA)
	if err != nil {
		return err
	}
	to, err := s.selected(c, s.openAINaming(c, body.Model), lora)
	if err != nil {
		return err
	}
	defer to.lease.Release()
	request, err := s.chatRequest(c, &body, to)
	if err != nil {
		return err
	}
	var release func()
	if request.Constraint, release, err = s.constraint(to, form); err != nil {
		return err
	}
	defer release()
	request.Arrived = arrived
	choices := repeat(request, or(body.N, 1))
	object := "chat.completion"
	if body.streams() {
		object = "chat.completion.chunk"
	}
	w := &chatWriter{
		text: to.text, body: &body, head: s.head("chatcmpl-", object, to.lease),
		prompt: len(request.Prompt), begun: make([]bool, len(choices)), made: make([]int, len(choices)),
	}
	g, err := s.generate(c, choices)
	if err != nil {
		return err
	}
	if body.streams() {
		return s.stream(c, g, openAI, w)
	}
	defer g.end()
	return w.whole(c, g)
}

// chatWriter writes the events of a generation as /v1/chat/completions does.
type chatWriter struct {
	text  *tokenizer.Tokenizer
	body  *chatRequest
	head  openAIHead
	usage openAIUsage

	prompt int    // its tokens
	begun  []bool // by choice
	made   []int  // tokens of the answers
}

// whole answers when every choice has finished.
func (w *chatWriter) whole(c *fiber.Ctx, g *generation) error {
	answer := chatAnswer{openAIHead: w.head, Choices: make([]chatChoice, len(g.choices)), Usage: &w.usage}
	for i := range answer.Choices {
		answer.Choices[i] = chatChoice{Index: i, Message: chatReply{Role: "assistant"}}
		if or(w.body.Logprobs, false) {
			answer.Choices[i].Logprobs = &chatLogprobs{Content: []chatToken{}}
		}
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
		choice := &answer.Choices[e.index]
		choice.Message.Content += e.Text
		choice.FinishReason = finishReason(e.Finish)
		if l := w.logprobs(e); l != nil {
			choice.Logprobs.Content = append(choice.Logprobs.Content, l.Content...)
		}
		w.count(e)
		timing.add(e)
	}
}

func (w *chatWriter) count(e choiceEvent) {
	if e.Usage != nil {
		w.usage.add(*e.Usage, e.index == 0)
	}
}

// write sends the role before a choice's first event, then what the event
// adds, and on the last one why it ended.
func (w *chatWriter) write(out *eventStream, e choiceEvent) error {
	w.count(e)
	if e.Token != runtime.NoToken {
		w.made[e.index]++
	}
	empty := ""
	if !w.begun[e.index] {
		w.begun[e.index] = true
		if err := w.delta(out, chatDelta{Index: e.index, Delta: chatAddition{Role: "assistant", Content: &empty}}); err != nil {
			return err
		}
	}
	if l := w.logprobs(e); e.Text != "" || l != nil {
		if err := w.delta(out, chatDelta{Index: e.index, Delta: chatAddition{Content: &e.Text}, Logprobs: l}); err != nil {
			return err
		}
	}
	if reason := finishReason(e.Finish); reason != nil {
		return w.delta(out, chatDelta{Index: e.index, FinishReason: reason})
	}
	return nil
}

func (w *chatWriter) delta(out *eventStream, d chatDelta) error {
	return out.send(chatChunk{openAIHead: w.head, Choices: []chatDelta{d}, Usage: w.body.usageSoFar(w.prompt, w.made[d.Index])})
}

func (w *chatWriter) close(out *eventStream) error {
	if w.body.includesUsage() {
		if err := out.send(chatChunk{openAIHead: w.head, Choices: []chatDelta{}, Usage: &w.usage}); err != nil {
			return err
		}
	}
	return out.done()
}

func (w *chatWriter) logprobs(e choiceEvent) *chatLogprobs {
	if !or(w.body.Logprobs, false) || e.Token == runtime.NoToken {
		return nil
	}
	token := chatToken{w.token(runtime.Logprob{Token: e.Token, Logprob: e.Logprob}), []chatTokenText{}}
	for _, t := range e.Top {
		token.Top = append(token.Top, w.token(t))
	}
	return &chatLogprobs{Content: []chatToken{token}}
}

func (w *chatWriter) token(l runtime.Logprob) chatTokenText {
	text := w.text.TokenBytes(l.Token)
	t := chatTokenText{tokenText(w.text, l.Token), finite(l.Logprob), make([]int, len(text))}
	for i, b := range text {
		t.Bytes[i] = int(b)
	}
	return t
}
