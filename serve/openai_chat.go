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
	Choices        []chatChoice     `json:"choices"`
	Usage          *openAIUsage     `json:"usage"`
	PromptLogprobs []promptLogprobs `json:"prompt_logprobs,omitempty"`
	PromptIDs      []int32          `json:"prompt_token_ids,omitempty"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatReply     `json:"message"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	IDs          []int32       `json:"token_ids,omitempty"`
}

type chatReply struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"` // nil: it has only called tools, or reasoned
	Reasoning string     `json:"reasoning_content,omitempty"`
	Calls     []chatCall `json:"tool_calls,omitempty"`
	Refusal   *string    `json:"refusal"`
}

// add adds what an event brings.
func (r *chatReply) add(part replyPart) {
	r.Reasoning += part.reasoning
	if part.content != "" {
		content := or(r.Content, "") + part.content
		r.Content = &content
	}
	for _, call := range part.calls {
		call.Index = nil
		r.Calls = append(r.Calls, call)
	}
}

// finish has a reply that is nothing be an empty text.
func (r *chatReply) finish() {
	if r.Content == nil && r.Reasoning == "" && len(r.Calls) == 0 {
		r.Content = new(string)
	}
}

// chatChunk is an event of a stream.
type chatChunk struct {
	openAIHead
	Choices   []chatDelta  `json:"choices"`
	Usage     *openAIUsage `json:"usage,omitempty"`
	PromptIDs []int32      `json:"prompt_token_ids,omitempty"`
}

type chatDelta struct {
	Index        int           `json:"index"`
	Delta        chatAddition  `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	IDs          []int32       `json:"token_ids,omitempty"`
}

type chatAddition struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	Calls     []chatCall `json:"tool_calls,omitempty"`
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
	run, err := s.converse(c, &body, arrived)
	if err != nil {
		return err
	}
	object := "chat.completion"
	if body.streams() {
		object = "chat.completion.chunk"
	}
	w := &chatWriter{chatRun: run, body: &body, head: s.textHead("chatcmpl-", object, run.lease), begun: make([]bool, len(run.choices)), made: make([]int, len(run.choices))}
	if body.streams() {
		return s.stream(c, run.generation, openAI, w)
	}
	defer run.end()
	return w.whole(c)
}

// chatRun is what answers a conversation, on its way.
type chatRun struct {
	*generation
	text    *tokenizer.Tokenizer
	replies chatReplies
	prompt  []int32
}

// converse begins the answers to a conversation, whose fields have been checked. Who
// gets them ends them.
func (s *Server) converse(c *fiber.Ctx, body *chatRequest, arrived time.Time) (*chatRun, error) {
	calls, err := body.callForm()
	if err != nil {
		return nil, err
	}
	form, err := body.form(calls)
	if err != nil {
		return nil, err
	}
	body.formed = form != nil
	lora, err := s.loraNaming(c, body.LoRA)
	if err != nil {
		return nil, err
	}
	to, err := s.selected(c, s.openAINaming(c, body.Model), lora)
	if err != nil {
		return nil, err
	}
	defer to.lease.Release()
	request, replies, err := s.chatRequest(c, body, to)
	if err != nil {
		return nil, err
	}
	var release func()
	if request.Constraint, release, err = s.constraint(tenantOf(c).Name, to, form); err != nil {
		return nil, err
	}
	defer release()
	request.Arrived = arrived
	g, err := s.generate(c, repeat(request, or(body.N, 1)))
	if err != nil {
		return nil, err
	}
	return &chatRun{g, to.text, replies, request.Prompt}, nil
}

// chatWriter writes the events of a generation as /v1/chat/completions does.
type chatWriter struct {
	*chatRun
	body  *chatRequest
	head  openAIHead
	usage openAIUsage

	begun []bool // by choice
	made  []int  // tokens of the answers
}

// whole answers when every choice has finished.
func (w *chatWriter) whole(c *fiber.Ctx) error {
	answer := chatAnswer{openAIHead: w.head, Choices: make([]chatChoice, len(w.choices)), Usage: &w.usage}
	for i := range answer.Choices {
		answer.Choices[i] = chatChoice{Index: i, Message: chatReply{Role: "assistant"}}
		answer.Choices[i].Message.add(replyPart{content: w.body.echoed()})
		if or(w.body.Logprobs, false) {
			answer.Choices[i].Logprobs = &chatLogprobs{Content: []chatToken{}}
		}
	}
	if or(w.body.ReturnIDs, false) {
		answer.PromptIDs = w.prompt
	}
	var timing timing
	for {
		e, err := w.next()
		if errors.Is(err, runtime.ErrEnd) {
			timing.headers(c, w.generation)
			for i := range answer.Choices {
				answer.Choices[i].Message.finish()
			}
			return writeJSON(c, fiber.StatusOK, answer)
		}
		if err != nil {
			return err
		}
		choice := &answer.Choices[e.index]
		choice.Message.add(w.part(e))
		choice.FinishReason = w.replies.finish(e.index, finishReason(e.Finish))
		choice.IDs = append(choice.IDs, w.ids(e)...)
		if e.Prompt != nil && e.index == 0 {
			answer.PromptLogprobs = promptLogprobsOf(w.text, e.Prompt, *w.body.PromptLogprobs)
		}
		if l := w.logprobs(e); l != nil {
			choice.Logprobs.Content = append(choice.Logprobs.Content, l...)
		}
		w.count(e)
		timing.add(e)
	}
}

// part is what an event brings of the reply.
func (w *chatWriter) part(e choiceEvent) replyPart {
	part := w.replies.take(e.index, e.Text, e.Finish != "")
	if !or(w.body.IncludeReasoning, true) {
		part.reasoning = ""
	}
	return part
}

// ids are the token of an event, where it is asked for.
func (w *chatWriter) ids(e choiceEvent) []int32 {
	if !or(w.body.ReturnIDs, false) || e.Token == runtime.NoToken {
		return nil
	}
	return []int32{e.Token}
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
	if !w.begun[e.index] {
		w.begun[e.index] = true
		if err := w.begin(out, e.index); err != nil {
			return err
		}
	}
	for _, addition := range w.additions(e) {
		if err := w.delta(out, addition); err != nil {
			return err
		}
	}
	if reason := finishReason(e.Finish); reason != nil {
		return w.delta(out, chatDelta{Index: e.index, FinishReason: w.replies.finish(e.index, reason)})
	}
	return nil
}

// begin sends the role of a choice, and what it goes on with where that is asked for.
func (w *chatWriter) begin(out *eventStream, choice int) error {
	first := chatChunk{openAIHead: w.head, Choices: []chatDelta{{Index: choice, Delta: chatAddition{Role: "assistant", Content: new(string)}}}, Usage: w.body.usageSoFar(len(w.prompt), 0)}
	if or(w.body.ReturnIDs, false) {
		first.PromptIDs = w.prompt
	}
	if err := out.send(first); err != nil {
		return err
	}
	if echo := w.body.echoed(); echo != "" {
		return w.delta(out, chatDelta{Index: choice, Delta: chatAddition{Content: &echo}})
	}
	return nil
}

// additions are what an event adds to its choice: reasoning, content, calls. The
// first of them has the token's log-probability and id.
func (w *chatWriter) additions(e choiceEvent) (all []chatDelta) {
	part, ids := w.part(e), w.ids(e)
	var logprobs *chatLogprobs
	if l := w.logprobs(e); l != nil {
		logprobs = &chatLogprobs{Content: l}
	}
	add := func(a chatAddition) {
		all = append(all, chatDelta{Index: e.index, Delta: a, Logprobs: logprobs, IDs: ids})
		logprobs, ids = nil, nil
	}
	if part.reasoning != "" {
		add(chatAddition{Reasoning: part.reasoning})
	}
	if part.content != "" {
		add(chatAddition{Content: &part.content})
	}
	for _, call := range part.calls {
		add(chatAddition{Calls: []chatCall{call}})
	}
	if logprobs != nil || ids != nil {
		add(chatAddition{Content: new(string)})
	}
	return all
}

func (w *chatWriter) delta(out *eventStream, d chatDelta) error {
	return out.send(chatChunk{openAIHead: w.head, Choices: []chatDelta{d}, Usage: w.body.usageSoFar(len(w.prompt), w.made[d.Index])})
}

func (w *chatWriter) close(out *eventStream) error {
	if w.body.includesUsage() {
		if err := out.send(chatChunk{openAIHead: w.head, Choices: []chatDelta{}, Usage: &w.usage}); err != nil {
			return err
		}
	}
	return out.done()
}

// logprobs are those of an event's token, where they are asked for.
func (r *chatRun) logprobs(e choiceEvent) []chatToken {
	if r.choices[0].Logprobs < 0 || e.Token == runtime.NoToken {
		return nil
	}
	token := chatToken{r.token(runtime.Logprob{Token: e.Token, Logprob: e.Logprob}), []chatTokenText{}}
	for _, t := range e.Top {
		token.Top = append(token.Top, r.token(t))
	}
	return []chatToken{token}
}

func (r *chatRun) token(l runtime.Logprob) chatTokenText {
	text := r.text.TokenBytes(l.Token)
	t := chatTokenText{tokenText(r.text, l.Token), finite(l.Logprob), make([]int, len(text))}
	for i, b := range text {
		t.Bytes[i] = int(b)
	}
	return t
}
