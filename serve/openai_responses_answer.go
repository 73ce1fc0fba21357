package serve

import (
	"encoding/json"
	"time"

	"github.com/peft-serve/peft-serve/runtime"
)

// response is an answer of /v1/responses, and what it was asked for.
type response struct {
	ID          string             `json:"id"`
	Object      string             `json:"object"`
	CreatedAt   int64              `json:"created_at"`
	CompletedAt *int64             `json:"completed_at"`
	Status      string             `json:"status"`
	Error       *openAIError       `json:"error"`
	Incomplete  *incompleteDetails `json:"incomplete_details"`
	Model       string             `json:"model"`
	Output      []*responseItem    `json:"output"`
	Usage       *responseUsage     `json:"usage"`

	Instructions  *string           `json:"instructions"`
	MaxTokens     *int              `json:"max_output_tokens"`
	Temperature   float64           `json:"temperature"`
	TopP          float64           `json:"top_p"`
	TopLogprobs   int               `json:"top_logprobs"`
	Text          responseText      `json:"text"`
	Tools         []json.RawMessage `json:"tools"`
	ToolChoice    any               `json:"tool_choice"`
	ParallelTools bool              `json:"parallel_tool_calls"`
	Reasoning     responseReasoning `json:"reasoning"`
	Metadata      map[string]string `json:"metadata"`
	Truncation    string            `json:"truncation"`
	Background    bool              `json:"background"`
	Store         bool              `json:"store"`
	Previous      *string           `json:"previous_response_id"`
}

// The status of an answer and of its items.
const (
	inProgress = "in_progress"
	completed  = "completed"
	incomplete = "incomplete"
)

type incompleteDetails struct {
	Reason string `json:"reason"`
}

type responseText struct {
	Format any `json:"format"`
}

type responseReasoning struct {
	Effort  *reasoningEffort `json:"effort"`
	Summary *string          `json:"summary"`
}

// responseItem is an item of an answer: reasoning, a message, or a call.
type responseItem struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Status    string         `json:"status"`
	Role      string         `json:"role,omitempty"`
	Summary   []struct{}     `json:"summary,omitzero"` // of reasoning: there is none
	Content   []responsePart `json:"content,omitzero"`
	CallID    string         `json:"call_id,omitempty"`
	Name      string         `json:"name,omitempty"`
	Arguments *string        `json:"arguments,omitempty"`
}

type responsePart struct {
	Type        string      `json:"type"`
	Text        string      `json:"text"`
	Annotations []struct{}  `json:"annotations,omitzero"`
	Logprobs    []chatToken `json:"logprobs,omitzero"`
}

func newTextItem(kind string) *responseItem {
	if kind == "reasoning" {
		return &responseItem{ID: "rs_" + newID(), Type: kind, Status: inProgress, Summary: []struct{}{}, Content: []responsePart{}}
	}
	return &responseItem{ID: "msg_" + newID(), Type: kind, Status: inProgress, Role: "assistant", Content: []responsePart{}}
}

func newTextPart(kind string) responsePart {
	if kind == "reasoning" {
		return responsePart{Type: "reasoning_text"}
	}
	return responsePart{Type: "output_text", Annotations: []struct{}{}, Logprobs: []chatToken{}}
}

func newCallItem(call chatCall) *responseItem {
	return &responseItem{ID: "fc_" + newID(), Type: "function_call", CallID: call.ID, Name: call.Function.Name, Arguments: &call.Function.Arguments}
}

type responseUsage struct {
	Input        int `json:"input_tokens"`
	InputDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int `json:"total_tokens"`
}

func usageOf(u runtime.Usage, reasoned int) *responseUsage {
	usage := &responseUsage{Input: u.PromptTokens, Output: u.CompletionTokens, Total: u.PromptTokens + u.CompletionTokens}
	usage.InputDetails.Cached = u.CachedTokens
	usage.OutputDetails.Reasoning = reasoned
	return usage
}

// responseEvent is an event of a stream.
type responseEvent struct {
	Type         string        `json:"type"`
	Sequence     int           `json:"sequence_number"`
	Response     *response     `json:"response,omitempty"`
	ItemID       string        `json:"item_id,omitempty"`
	OutputIndex  *int          `json:"output_index,omitempty"`
	ContentIndex *int          `json:"content_index,omitempty"`
	Item         *responseItem `json:"item,omitempty"`
	Part         *responsePart `json:"part,omitempty"`
	Delta        *string       `json:"delta,omitempty"`
	Text         *string       `json:"text,omitempty"`
	Name         string        `json:"name,omitempty"`
	Arguments    *string       `json:"arguments,omitempty"`
	Logprobs     []chatToken   `json:"logprobs,omitzero"`
}

func (e responseEvent) named() string { return e.Type }

// responseFault is the event of a fault.
type responseFault struct {
	responseEvent
	Message string      `json:"message"`
	Code    any         `json:"code"`
	Param   *string     `json:"param"`
	Error   openAIError `json:"error"`
}

// answerTo is the answer to a request before anything is said.
func (s *Server) answerTo(r *responsesRequest, run *chatRun) response {
	head := s.head("resp_", "response", run.lease)
	sampling := run.choices[0].Sampling
	a := response{
		ID: head.ID, Object: head.Object, CreatedAt: time.Now().Unix(), Status: inProgress, Model: head.Model, Output: []*responseItem{},
		Instructions: r.Instructions, MaxTokens: r.MaxTokens, Temperature: or(r.Temperature, float64(sampling.Temperature)), TopP: or(r.TopP, float64(sampling.TopP)), TopLogprobs: or(r.TopLogprobs, 0),
		Text: responseText{Format: map[string]string{"type": "text"}}, Tools: []json.RawMessage{}, ToolChoice: "auto",
		ParallelTools: or(r.ParallelTools, true), Metadata: r.Metadata, Truncation: "disabled",
	}
	if a.Metadata == nil {
		a.Metadata = map[string]string{}
	}
	if r.Text.Format.raw != nil {
		a.Text.Format = r.Text.Format.raw
	}
	if r.Reasoning.Effort != "" {
		a.Reasoning.Effort = &r.Reasoning.Effort
	}
	if r.ToolChoice.raw != nil {
		a.ToolChoice = r.ToolChoice.raw
	}
	for _, t := range r.Tools {
		a.Tools = append(a.Tools, t.sent)
	}
	return a
}
