package serve

import (
	"encoding/json"
	"fmt"
	"slices"
)

// responsesRequest is the body of POST /v1/responses: OpenAI's, and vLLM's sampling
// extensions. It is answered as the chat that it stands for.
type responsesRequest struct {
	unreads
	Model         modelName           `json:"model"`
	LoRA          []loraScale         `json:"lora"` // llama.cpp's
	Input         responsesInput      `json:"input"`
	Instructions  *string             `json:"instructions"`
	Stream        *bool               `json:"stream"`
	StreamOptions *responsesStreaming `json:"stream_options"`
	MaxTokens     *int                `json:"max_output_tokens"`
	Temperature   *float64            `json:"temperature"`
	TopP          *float64            `json:"top_p"`
	Text          responsesText       `json:"text"`
	Tools         []responsesTool     `json:"tools"`
	ToolChoice    responsesToolChoice `json:"tool_choice"`
	ParallelTools *bool               `json:"parallel_tool_calls"`
	Include       []string            `json:"include"`
	TopLogprobs   *int                `json:"top_logprobs"`
	Metadata      map[string]string   `json:"metadata"` // is sent back
	Reasoning     responsesReasoning  `json:"reasoning"`
	Previous      kept                `json:"previous_response_id"`
	Conversation  kept                `json:"conversation"`
	Prompt        kept                `json:"prompt"`
	Store         unimplemented       `json:"store" only:"false"`
	Background    unimplemented       `json:"background" only:"false"`
	Truncation    unimplemented       `json:"truncation" only:"\"disabled\""`
	ServiceTier   unimplemented       `json:"service_tier" only:"\"auto\"|\"default\""`
	Management    unimplemented       `json:"context_management" only:"[]"`
	MaxToolCalls  ignored             `json:"max_tool_calls"` // of OpenAI's own tools
	User          ignored             `json:"user"`
	RequestID     ignored             `json:"request_id"`
	Safety        ignored             `json:"safety_identifier"`
	PromptCache   ignored             `json:"prompt_cache_key"`

	Stop              stopStrings                `json:"stop"`
	Seed              *seedNumber                `json:"seed"`
	TopK              *int                       `json:"top_k"`
	MinP              *float64                   `json:"min_p"`
	Presence          *float64                   `json:"presence_penalty"`
	Frequency         *float64                   `json:"frequency_penalty"`
	Repetition        *float64                   `json:"repetition_penalty"`
	TemplateVariables map[string]json.RawMessage `json:"chat_template_kwargs"`
}

type responsesStreaming struct {
	unreads
	Obfuscation unimplemented `json:"include_obfuscation" only:"false"`
}

type responsesReasoning struct {
	Effort   reasoningEffort `json:"effort"`
	Summary  unimplemented   `json:"summary" only:"\"auto\""` // reasoning is in the open, whole
	Generate unimplemented   `json:"generate_summary"`
}

// kept is a field that names what OpenAI's server keeps and this one does not.
type kept struct{}

func (*kept) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	return fieldFailure(path, "unsupported_parameter", "names what a server has kept, and this one is stateless, it keeps nothing: send all of the conversation in input")
}

// The values of include that are read. Reasoning is passed back in the open.
const (
	includeLogprobs  = "message.output_text.logprobs"
	includeEncrypted = "reasoning.encrypted_content"
)

func (r *responsesRequest) streams() bool { return or(r.Stream, false) }

func (r *responsesRequest) wantsLogprobs() bool { return slices.Contains(r.Include, includeLogprobs) }

// check reports a field that is out of range, of those that a chat does not have.
func (r *responsesRequest) check(s *Server) error {
	for i, name := range r.Include {
		if name != includeLogprobs && name != includeEncrypted {
			field := fmt.Sprintf("include[%d]", i)
			return invalid(field, "%s is %q: give %s or %s", field, name, includeLogprobs, includeEncrypted)
		}
	}
	switch {
	case r.Input.text == nil && len(r.Input.items) == 0:
		return invalid("input", "input is missing: give a text, or the items of a conversation")
	case r.StreamOptions != nil && !r.streams():
		return invalid("stream_options", "stream_options is only for stream: true")
	case or(r.TopLogprobs, 0) > 0 && !r.wantsLogprobs():
		return invalid("top_logprobs", "top_logprobs needs include: [%q]", includeLogprobs)
	}
	if r.Input.text == nil {
		return s.checkTurns("input", r.Input.items)
	}
	return nil
}

// responsesNames are the fields of a chat that are called otherwise here.
var responsesNames = map[string]string{"messages": "input", "max_completion_tokens": "max_output_tokens", "max_tokens": "max_output_tokens", effortVariable: "reasoning.effort"}

// chat is the request as one of /v1/chat/completions.
func (r *responsesRequest) chat(messages []chatMessage) *chatRequest {
	body := &chatRequest{
		openAIRequest: openAIRequest{
			Model: r.Model, LoRA: r.LoRA, Stream: r.Stream, Stop: r.Stop, Seed: r.Seed, Temperature: r.Temperature, TopP: r.TopP,
			TopK: r.TopK, MinP: r.MinP, Presence: r.Presence, Frequency: r.Frequency, Repetition: r.Repetition,
		},
		MaxCompletionTokens: r.MaxTokens, Effort: r.Reasoning.Effort, TopLogprobs: r.TopLogprobs, ToolChoice: r.ToolChoice.toolChoice, ParallelTools: r.ParallelTools,
		TemplateVariables: r.TemplateVariables, messages: messages, renamed: responsesNames,
	}
	body.ResponseFormat.form = r.Text.Format.form
	if r.wantsLogprobs() {
		wanted := true
		body.Logprobs = &wanted
	}
	for _, t := range r.Tools {
		body.Tools = append(body.Tools, t.chatTool)
	}
	return body
}

// responsesText is what the text of an answer is to be.
type responsesText struct {
	Format    responsesFormat `json:"format"`
	Verbosity unimplemented   `json:"verbosity" only:"\"medium\""`
}

// responsesFormat is what it is kept to: OpenAI's response_format without the object
// around the schema.
type responsesFormat struct {
	form
	raw json.RawMessage
}

func (f *responsesFormat) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	var shape struct {
		Type        string          `json:"type"`
		Name        *string         `json:"name"`
		Description ignored         `json:"description"`
		Schema      json.RawMessage `json:"schema"`
		Strict      *bool           `json:"strict"`
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	f.raw = append(f.raw, raw...)
	switch {
	case shape.Type != "json_schema" && !absent(shape.Schema):
		return &fieldError{join(path, "schema"), fmt.Sprintf("has no place beside type %q: leave it out", shape.Type)}
	case shape.Type == "text":
		return nil
	case shape.Type == "json_object":
		f.field, f.kind = path, formObject
		return nil
	case shape.Type != "json_schema":
		return &fieldError{join(path, "type"), fmt.Sprintf("is %q: give json_schema, json_object or text", shape.Type)}
	case absent(shape.Schema):
		return &fieldError{join(path, "schema"), "is missing: give the JSON schema"}
	}
	return f.setSchema(join(path, "schema"), shape.Schema)
}

// responsesTool is a function that may be called, shown to the template as chats have
// them.
type responsesTool struct {
	chatTool
	sent json.RawMessage
}

func (t *responsesTool) decodeField(path string, raw json.RawMessage) error {
	var kind struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &kind) == nil && kind.Type != "function" {
		return &fieldError{join(path, "type"), fmt.Sprintf("is %q: only function is implemented", kind.Type)}
	}
	var shape struct {
		Type        string          `json:"type"`
		Name        string          `json:"name"`
		Description *string         `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	if shape.Name == "" {
		return &fieldError{join(path, "name"), "is missing"}
	}
	function := struct {
		Name        string          `json:"name"`
		Description *string         `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
	}{shape.Name, shape.Description, nil}
	if !absent(shape.Parameters) {
		function.Parameters = shape.Parameters
	}
	shown, err := encode(map[string]any{"type": "function", "function": function})
	if err != nil {
		return err
	}
	t.sent = append(t.sent, raw...)
	t.chatTool = chatTool{raw: shown, name: shape.Name, field: join(path, "parameters"), parameters: function.Parameters}
	return nil
}

// responsesToolChoice is a chat's, but for where the function's name stands.
type responsesToolChoice struct {
	toolChoice
	raw json.RawMessage
}

func (t *responsesToolChoice) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	t.raw = append(t.raw, raw...)
	if classOf(raw) != '{' {
		return t.toolChoice.decodeField(path, raw)
	}
	type byName struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	switch kind := typeOf(raw); kind {
	case choiceOfAllowed:
		var shape struct {
			Type  string   `json:"type"`
			Mode  string   `json:"mode"`
			Tools []byName `json:"tools"`
		}
		if err := decodeInto(path, raw, &shape); err != nil {
			return err
		}
		tools := make([]toolByName, len(shape.Tools))
		for i, tool := range shape.Tools {
			tools[i].Type, tools[i].Function.Name = tool.Type, tool.Name
		}
		return t.allow(path, shape.Mode, tools)
	case "function":
	default:
		return &fieldError{join(path, "type"), fmt.Sprintf("is %q: give %s", kind, toolChoices)}
	}
	var shape byName
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	if t.name = shape.Name; t.name == "" {
		return &fieldError{join(path, "name"), "is missing: name the function"}
	}
	return nil
}
