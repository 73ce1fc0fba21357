package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/runtime"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	openAIRequest
	Turns               chatTurns                  `json:"messages"`
	MaxCompletionTokens *int                       `json:"max_completion_tokens"`
	Logprobs            *bool                      `json:"logprobs"`
	TopLogprobs         *int                       `json:"top_logprobs"`
	Tools               []chatTool                 `json:"tools"`
	ToolChoice          toolChoice                 `json:"tool_choice"`
	ParallelTools       *bool                      `json:"parallel_tool_calls"`
	Effort              reasoningEffort            `json:"reasoning_effort"`
	IncludeReasoning    *bool                      `json:"include_reasoning"` // vLLM's
	Echo                *bool                      `json:"echo"`              // vLLM's: of the message that is continued
	GenerationPrompt    *bool                      `json:"add_generation_prompt"`
	TemplateVariables   map[string]json.RawMessage `json:"chat_template_kwargs"`
	Documents           []chatDocument             `json:"documents"`
	ContinueFinal       *bool                      `json:"continue_final_message"`
	Metadata            ignored                    `json:"metadata"`

	Template     unimplemented `json:"chat_template"`
	Functions    unimplemented `json:"functions" only:"[]"`
	FunctionCall unimplemented `json:"function_call" only:"\"none\"|\"auto\""`
	Store        unimplemented `json:"store" only:"false"`
	Modalities   unimplemented `json:"modalities" only:"[\"text\"]"`
	Audio        unimplemented `json:"audio"`
	Prediction   unimplemented `json:"prediction"`
	Verbosity    unimplemented `json:"verbosity" only:"\"medium\""`
	WebSearch    unimplemented `json:"web_search_options"`

	messages []chatMessage     // Turns, read by check
	renamed  map[string]string // fields that are called otherwise where the request comes from
	formed   bool              // what the answer is kept to has no place for reasoning, nor for calls that are not asked for
}

// tools are those that the answer may call.
func (r *chatRequest) tools() []chatTool {
	switch {
	case r.ToolChoice.none:
		return nil
	case r.ToolChoice.allowed != nil:
		return slices.DeleteFunc(slices.Clone(r.Tools), func(t chatTool) bool { return !slices.Contains(r.ToolChoice.allowed, t.name) })
	}
	return r.Tools
}

// chatDocument is what an answer is to draw on, kept as it was written.
type chatDocument struct{ raw json.RawMessage }

func (d *chatDocument) decodeField(path string, raw json.RawMessage) error {
	if classOf(raw) != '{' {
		return wrongType(path, raw, "an object")
	}
	d.raw = append(d.raw, raw...)
	return nil
}

// named is what a field is called in the request.
func (r *chatRequest) named(field string) string {
	if other, ok := r.renamed[field]; ok {
		return other
	}
	return field
}

func (r *chatRequest) check(s *Server) (err error) {
	if err := s.checkTurns("messages", r.Turns); err != nil {
		return err
	}
	if err := r.checkFields(s); err != nil {
		return err
	}
	r.messages, err = r.Turns.read()
	return err
}

// checkTurns refuses none, and more than a context can hold.
func (s *Server) checkTurns(field string, turns chatTurns) error {
	switch {
	case len(turns) == 0:
		return invalid(field, "%s is missing: give at least one", field)
	case turns.count() > s.context: // and then the turns take more than one token each
		return tooLong(field, "%s has %d turns, parts and calls: %s tokens, the answer included", field, turns.count(), s.longest())
	}
	return nil
}

// checkFields reports a field that is out of range, of those beside the messages.
func (r *chatRequest) checkFields(s *Server) error {
	switch {
	case r.MaxCompletionTokens != nil && *r.MaxCompletionTokens < 0:
		field := r.named("max_completion_tokens")
		return invalid(field, "%s is %d, below 0", field, *r.MaxCompletionTokens)
	case r.MaxTokens != nil && r.MaxCompletionTokens != nil && *r.MaxTokens != *r.MaxCompletionTokens:
		return invalid("max_tokens", "max_tokens is %d and max_completion_tokens %d: give one", *r.MaxTokens, *r.MaxCompletionTokens)
	case r.TopLogprobs != nil && (*r.TopLogprobs < 0 || *r.TopLogprobs > s.config.MaxLogprobs):
		return invalid("top_logprobs", "top_logprobs is %d, outside 0 to %d", *r.TopLogprobs, s.config.MaxLogprobs)
	case or(r.ContinueFinal, false) && or(r.GenerationPrompt, false):
		return invalid("continue_final_message", "continue_final_message goes on with the last message, and add_generation_prompt begins another: give one")
	case or(r.Echo, false) && !or(r.ContinueFinal, false):
		return invalid("echo", "echo begins the answer with the message that continue_final_message goes on with: give both, or leave it out")
	case or(r.TopLogprobs, 0) > 0 && !or(r.Logprobs, false):
		return invalid("top_logprobs", "top_logprobs needs logprobs: true")
	}
	for _, name := range slices.Sorted(maps.Keys(r.TemplateVariables)) {
		if chat.Given(name) {
			return invalid("chat_template_kwargs", "chat_template_kwargs.%s is what the server gives the chat template itself: leave it out", name)
		}
	}
	if err := r.openAIRequest.check(); err != nil {
		return err
	}
	return r.checkPromptLogprobs(s.config.MaxLogprobs)
}

// chatPrompt renders the conversation and returns its text, with the source of the
// template that it is rendered with.
func (s *Server) chatPrompt(c *fiber.Ctx, r *chatRequest, to selection) (text, source string, err error) {
	template, err := s.chatTemplate(c, to)
	if err != nil {
		return "", "", err
	}
	if template.turnTemplate == nil {
		return "", "", invalid(r.named("messages"), "%s has no chat template: use /v1/completions", s.config.Name)
	}
	goOn := or(r.ContinueFinal, false)
	o := chat.Options{AddGenerationPrompt: or(r.GenerationPrompt, !goOn), ContinueFinalMessage: goOn, Variables: r.TemplateVariables}
	for _, t := range r.tools() {
		o.Tools = append(o.Tools, t.raw)
	}
	for _, d := range r.Documents {
		o.Documents = append(o.Documents, d.raw)
	}
	if err := giveEffort(c, r, template.template(), &o); err != nil {
		return "", "", err
	}
	if err := s.readBy(c, r, template, o); err != nil {
		return "", "", err
	}
	messages := make([]chat.Message, len(r.messages))
	for i := range messages {
		messages[i] = r.messages[i].Message
	}
	text, err = s.render(c, template, r.named("messages"), messages, o)
	return text, template.template().Text(len(o.Tools) > 0), err
}

// echoed is the text of the message that an answer goes on with, which it is to
// begin with.
func (r *chatRequest) echoed() string {
	if !or(r.Echo, false) {
		return ""
	}
	return r.messages[len(r.messages)-1].Content
}

// readBy refuses what the template would leave out of the prompt.
func (s *Server) readBy(c *fiber.Ctx, r *chatRequest, t chatTemplate, o chat.Options) error {
	template := t.template()
	if name := template.Unread(o); name != "" {
		return invalid("chat_template_kwargs", "chat_template_kwargs.%s is not read by %s chat template: leave it out", name, t.owner())
	}
	switch {
	case len(o.Tools) > 0 && !template.TakesTools():
		return invalid("tools", "%s chat template has no place for tools: leave them out", t.owner())
	case len(r.Documents) > 0 && !template.TakesDocuments():
		return invalid("documents", "%s chat template has no place for documents: leave them out", t.owner())
	}
	for i := range r.messages {
		m := &r.messages[i]
		if m.HasToolCalls() && !template.Reads("tool_calls") {
			return &fieldError{m.path + ".tool_calls", fmt.Sprintf("has no place in %s chat template: leave it out", t.owner())}
		}
		unread := slices.DeleteFunc(slices.Clone(m.unread), func(u unread) bool { return template.Reads(u.key) })
		if u := s.passOverInTurn(c, unread); u != nil {
			return &fieldError{u.path, fmt.Sprintf("is read neither by this API nor by %s chat template: leave it out%s", t.owner(), closest(u.key, u.fields))}
		}
	}
	return nil
}

// chatRequest is the runtime's request for body, and what takes the answers apart.
func (s *Server) chatRequest(c *fiber.Ctx, body *chatRequest, to selection) (request runtime.Request, replies chatReplies, err error) {
	request = s.openAIRequest(c, &body.openAIRequest, to)
	if err := body.checkTokens(to.vocabulary); err != nil {
		return request, replies, err
	}
	prompt, source, err := s.chatPrompt(c, body, to)
	if err != nil {
		return request, replies, err
	}
	replies = s.repliesOf(body, source, prompt)
	request.Shown = replies.shown(to.text)
	asked, field := body.MaxCompletionTokens, body.named("max_completion_tokens")
	if asked == nil {
		asked, field = body.MaxTokens, body.named("max_tokens")
	}
	kept := body.kept(s.context, s.roomFor(to, asked, 1))
	if request.Prompt, err = s.encodeLast(c, to.text, body.named("messages"), prompt, or(body.AddSpecial, false), kept); err != nil {
		return request, replies, err
	}
	if err := s.setLength(to, &request, asked, -1, field); err != nil {
		return request, replies, err
	}
	if or(body.Logprobs, false) {
		request.Logprobs = or(body.TopLogprobs, 0)
	}
	if err := body.checkLength(&request); err != nil {
		return request, replies, err
	}
	return request, replies, s.fits(to, &request, body.named("messages"), field)
}
