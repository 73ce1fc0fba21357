package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/runtime"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	openAIRequest
	Messages            []chatMessage              `json:"messages"`
	MaxCompletionTokens *int                       `json:"max_completion_tokens"`
	Logprobs            *bool                      `json:"logprobs"`
	TopLogprobs         *int                       `json:"top_logprobs"`
	Tools               []chatTool                 `json:"tools"`
	ToolChoice          unimplemented              `json:"tool_choice" only:"\"auto\"|\"none\""`
	GenerationPrompt    *bool                      `json:"add_generation_prompt"`
	TemplateVariables   map[string]json.RawMessage `json:"chat_template_kwargs"`
	Metadata            ignored                    `json:"metadata"`

	Template        unimplemented `json:"chat_template"`
	Documents       unimplemented `json:"documents" only:"[]"`
	ContinueFinal   unimplemented `json:"continue_final_message" only:"false"`
	Echo            unimplemented `json:"echo" only:"false"`
	ParallelTools   unimplemented `json:"parallel_tool_calls" only:"true"`
	Functions       unimplemented `json:"functions" only:"[]"`
	FunctionCall    unimplemented `json:"function_call" only:"\"none\"|\"auto\""`
	Store           unimplemented `json:"store" only:"false"`
	Modalities      unimplemented `json:"modalities" only:"[\"text\"]"`
	Audio           unimplemented `json:"audio"`
	Prediction      unimplemented `json:"prediction"`
	ReasoningEffort unimplemented `json:"reasoning_effort"`
	Verbosity       unimplemented `json:"verbosity" only:"\"medium\""`
	WebSearch       unimplemented `json:"web_search_options"`
}

// chatMessage is a message, read strictly.
type chatMessage struct{ chat.Message }

// chatMessageShape is every field of a message that OpenAI's API has.
type chatMessageShape struct {
	Role         *string         `json:"role"`
	Content      chatContent     `json:"content"`
	Name         *string         `json:"name"`
	Reasoning    *string         `json:"reasoning_content"`
	ToolCalls    []chatCallShape `json:"tool_calls"`
	ToolCallID   *string         `json:"tool_call_id"`
	Refusal      unimplemented   `json:"refusal"`
	Audio        unimplemented   `json:"audio"`
	FunctionCall unimplemented   `json:"function_call"`
	Annotations  unimplemented   `json:"annotations" only:"[]"`
}

type chatCallShape struct {
	ID       string  `json:"id"`
	Type     string  `json:"type"`
	Index    ignored `json:"index"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// chatContent is a string, null, or text parts.
type chatContent struct{}

type chatPartShape struct {
	Type string  `json:"type"`
	Text *string `json:"text"`
}

func (*chatContent) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case '"':
		var text string
		return decodeInto(path, raw, &text)
	case 'n':
		return nil
	case '[':
		var parts []json.RawMessage
		if err := json.Unmarshal(raw, &parts); err != nil {
			return &fieldError{path, err.Error()}
		}
		for i, part := range parts {
			at := fmt.Sprintf("%s[%d]", path, i)
			var kind struct {
				Type string `json:"type"`
			}
			if json.Unmarshal(part, &kind) == nil && kind.Type != "" && kind.Type != "text" {
				return &fieldError{at + ".type", fmt.Sprintf("is %q: only text is implemented", kind.Type)}
			}
			var shape chatPartShape
			if err := decodeInto(at, part, &shape); err != nil {
				return err
			}
			if shape.Text == nil {
				return &fieldError{at + ".text", "is missing"}
			}
		}
		return nil
	}
	return wrongType(path, raw, "a string or an array of text parts")
}

func (m *chatMessage) decodeField(path string, raw json.RawMessage) error {
	const want = ": give system, developer, user, assistant or tool"
	var shape chatMessageShape
	if classOf(raw) == 'n' {
		return wrongType(path, raw, "an object")
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	switch {
	case shape.Role == nil:
		return &fieldError{path + ".role", "is missing" + want}
	case !slices.Contains([]string{"system", "developer", "user", "assistant", "tool"}, *shape.Role):
		return &fieldError{path + ".role", fmt.Sprintf("is %q", *shape.Role) + want}
	}
	if err := json.Unmarshal(raw, &m.Message); err != nil {
		return &fieldError{path, "cannot be used: " + err.Error()}
	}
	return nil
}

// chatTool is a tool's definition, kept as it was written.
type chatTool struct{ raw json.RawMessage }

func (t *chatTool) decodeField(path string, raw json.RawMessage) error {
	var shape struct {
		Type     string                     `json:"type"`
		Function map[string]json.RawMessage `json:"function"`
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	switch {
	case shape.Type != "function":
		return &fieldError{path + ".type", fmt.Sprintf("is %q: only function is implemented", shape.Type)}
	case len(shape.Function["name"]) == 0:
		return &fieldError{path + ".function.name", "is missing"}
	}
	t.raw = append(t.raw, raw...)
	return nil
}

func (r *chatRequest) check(s *Server) error {
	switch {
	case len(r.Messages) == 0:
		return invalid("messages", "messages is missing: give at least one")
	case r.MaxCompletionTokens != nil && *r.MaxCompletionTokens < 0:
		return invalid("max_completion_tokens", "max_completion_tokens is %d, below 0", *r.MaxCompletionTokens)
	case r.MaxTokens != nil && r.MaxCompletionTokens != nil && *r.MaxTokens != *r.MaxCompletionTokens:
		return invalid("max_tokens", "max_tokens is %d and max_completion_tokens %d: give one", *r.MaxTokens, *r.MaxCompletionTokens)
	case r.TopLogprobs != nil && (*r.TopLogprobs < 0 || *r.TopLogprobs > s.config.MaxLogprobs):
		return invalid("top_logprobs", "top_logprobs is %d, outside 0 to %d", *r.TopLogprobs, s.config.MaxLogprobs)
	case or(r.TopLogprobs, 0) > 0 && !or(r.Logprobs, false):
		return invalid("top_logprobs", "top_logprobs needs logprobs: true")
	}
	for _, name := range slices.Sorted(maps.Keys(r.TemplateVariables)) {
		if chat.Given(name) {
			return invalid("chat_template_kwargs", "chat_template_kwargs.%s is what the server gives the chat template itself: leave it out", name)
		}
	}
	return r.openAIRequest.check(s)
}

// chatPrompt renders the conversation and returns its tokens.
func (s *Server) chatPrompt(c *fiber.Ctx, r *chatRequest, template chatTemplate) ([]int32, error) {
	if template.base == nil && template.own == nil {
		return nil, invalid("messages", "%s has no chat template: use /v1/completions", s.config.Name)
	}
	if len(r.Tools) > 0 && !template.takesTools() {
		return nil, invalid("tools", "%s chat template has no place for tools: leave them out", template.owner())
	}
	o := chat.Options{AddGenerationPrompt: or(r.GenerationPrompt, true), Variables: r.TemplateVariables}
	if id, ok := s.text.BOS(); ok {
		o.BOS = s.text.Token(id)
	}
	if id, ok := s.text.EOS(); ok {
		o.EOS = s.text.Token(id)
	}
	for _, t := range r.Tools {
		o.Tools = append(o.Tools, t.raw)
	}
	messages := make([]chat.Message, len(r.Messages))
	for i := range messages {
		messages[i] = r.Messages[i].Message
	}
	text, err := s.render(c, template, messages, o)
	if err != nil {
		return nil, err
	}
	return s.text.Encode(text, or(r.AddSpecial, false)), nil
}

// chatChoices makes the runtime's requests of a body.
func (s *Server) chatChoices(c *fiber.Ctx, body *chatRequest) ([]*runtime.Request, error) {
	if err := body.check(s); err != nil {
		return nil, err
	}
	adapter, err := s.adapterFor(c, s.openAINaming(body.Model))
	if err != nil {
		return nil, err
	}
	request := s.openAIRequest(c, &body.openAIRequest, adapter)
	request.Arrived = time.Now()
	template, err := s.chatTemplate(c, adapter)
	if err != nil {
		return nil, err
	}
	request.Version = template.version
	if request.Prompt, err = s.chatPrompt(c, body, template); err != nil {
		return nil, err
	}
	field := "max_completion_tokens"
	if body.MaxCompletionTokens == nil {
		field = "max_tokens"
	}
	request.MaxTokens = or(body.MaxCompletionTokens, or(body.MaxTokens, -1))
	if or(body.Logprobs, false) {
		request.Logprobs = or(body.TopLogprobs, 0)
	}
	if err := s.fits(&request, "messages", field); err != nil {
		return nil, err
	}
	return repeat(request, or(body.N, 1)), nil
}
