package serve

import (
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

// An answer of items, and what it was asked for.
func TestResponses(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/v1/responses", "/responses"} {
		got := s.post(t, path, `{"model":"sql","input":"Yo","instructions":"Be","temperature":0.5,"top_p":0.9,"max_output_tokens":50,"metadata":{"a":"b"},"store":false,"user":"u"}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
		var r response
		require.NoError(t, json.Unmarshal([]byte(got.body), &r))
		require.Equal(t, "response", r.Object)
		require.Equal(t, completed, r.Status)
		require.Equal(t, "sql", r.Model)
		require.Len(t, r.Output, 1)
		require.Equal(t, "message", r.Output[0].Type)
		require.Equal(t, completed, r.Output[0].Status)
		require.Equal(t, "Hi there.", r.Output[0].Content[0].Text)
		require.Equal(t, 9, r.Usage.Output)
		require.Equal(t, r.Usage.Input+9, r.Usage.Total)
		require.InDelta(t, 0.5, r.Temperature, 0)
		require.InDelta(t, 0.9, r.TopP, 0)
		require.Equal(t, map[string]string{"a": "b"}, r.Metadata)
		require.Equal(t, "null", member(t, got.body, "error"))
		require.Equal(t, "[]", member(t, got.body, "output", "0", "content", "0", "annotations"))
	}
	requests := s.engine.requests()
	require.Equal(t, requests[0].Prompt, requests[1].Prompt)
	chat := s.post(t, "/v1/chat/completions", `{"model":"sql","messages":[{"role":"system","content":"Be"},{"role":"user","content":"Yo"}]}`)
	require.Equal(t, 200, chat.status)
	require.Equal(t, s.engine.requests()[2].Prompt, requests[0].Prompt, "it is the chat in other words")
	require.Equal(t, 50, requests[0].MaxTokens)
}

// eventsOf are the types and the bodies of the events of a stream.
func eventsOf(t *testing.T, a answer) (kinds []string, bodies []string) {
	t.Helper()
	require.Equal(t, 200, a.status, a.body)
	bodies = a.events()
	for i, body := range bodies {
		var e responseEvent
		require.NoError(t, json.Unmarshal([]byte(body), &e))
		require.Equal(t, i, e.Sequence)
		require.Contains(t, a.body, "event: "+e.Type+"\ndata: ")
		kinds = append(kinds, strings.TrimPrefix(e.Type, "response."))
	}
	return kinds, bodies
}

// told is an answer without what is new in each.
func told(t *testing.T, answer string) (r response) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(answer), &r))
	r.ID, r.CreatedAt, r.CompletedAt = "", 0, nil
	for _, item := range r.Output {
		item.ID, item.CallID = "", ""
	}
	return r
}

// The events of OpenAI's clients, in their order: reasoning, text, calls.
func TestResponsesStream(t *testing.T) {
	const template = toolTemplate + `<think>`
	s := withReply(t, template, "hermes", "why</think>\n\nSee. <tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"sky\"}}\n</tool_call>")
	const body = `"input":"Yo","tools":[{"type":"function","name":"look","parameters":{"type":"object"},"strict":true}]`
	whole := s.post(t, responsesRoute, `{`+body+`}`)
	require.Equal(t, 200, whole.status, whole.body)
	kinds, bodies := eventsOf(t, s.post(t, responsesRoute, `{`+body+`,"stream":true}`))
	var order []string
	for _, kind := range kinds {
		if len(order) == 0 || order[len(order)-1] != kind {
			order = append(order, kind)
		}
	}
	require.Equal(t, []string{
		"created", "in_progress",
		"output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done",
		"output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
		"output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
		"completed",
	}, order)
	last := member(t, bodies[len(bodies)-1], "response")
	require.Equal(t, told(t, whole.body), told(t, last), "a stream says what a whole answer says")
	r := told(t, last)
	require.Equal(t, "why", r.Output[0].Content[0].Text)
	require.Equal(t, "See.", r.Output[1].Content[0].Text)
	require.Equal(t, "look", r.Output[2].Name)
	require.JSONEq(t, `{"at":"sky"}`, *r.Output[2].Arguments)
	require.Equal(t, 3, r.Usage.OutputDetails.Reasoning, "a token a letter")
	var text string
	for i, kind := range kinds {
		if kind == "output_text.delta" {
			var e responseEvent
			require.NoError(t, json.Unmarshal([]byte(bodies[i]), &e))
			require.Equal(t, 1, *e.OutputIndex)
			text += *e.Delta
		}
	}
	require.Equal(t, "See.", text)
}

// The tokens of reasoning are counted, and not those of what comes behind it without a
// text between: the end of the reasoning, and a call.
func TestResponsesReasoningTokens(t *testing.T) {
	for text, want := range map[string]int{
		"why</think>\n\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"sky\"}}\n</tool_call>": 3,
		"why</think>See.": 3, "</think>See.": 0, "why": 3,
	} {
		s := withReply(t, toolTemplate+`<think>`, "hermes", text)
		got := s.post(t, responsesRoute, `{"input":"Yo","tools":[{"type":"function","name":"look"}]}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, want, told(t, got.body).Usage.OutputDetails.Reasoning, text)
	}
}

// Many items of reasoning take no more than they do, before their length is checked.
func TestResponsesReasoningIsJoinedOnce(t *testing.T) {
	turns := responsesTurns{called: map[string]bool{}}
	item := reasoningItem{Content: itemContent{texts: []string{strings.Repeat("a", 1000)}}}
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	for range 4000 {
		require.NoError(t, item.join(&turns, "input[0]"))
	}
	goruntime.ReadMemStats(&after)
	require.Len(t, turns.all, 1)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "joined anew for each they take 8 GB")
}

// What an answer was is passed back as it was, and is one turn of the assistant.
func TestResponsesInput(t *testing.T) {
	s := withReply(t, `{% for m in messages %}[{{ m.role }}|{{ m.reasoning_content }}|{{ m.content }}|{% for c in m.tool_calls %}{{ c.id }}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}|{{ m.tool_call_id }}]{% endfor %}`, "hermes", "Hi")
	got := s.post(t, responsesRoute, `{"input":[
		{"role":"user","content":"a"},
		{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"status":"completed","encrypted_content":null},
		{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[],"logprobs":[]}]},
		{"type":"function_call","id":"fc_1","call_id":"c1","name":"look","arguments":"{\"x\": 1}","status":"completed"},
		{"type":"function_call","call_id":"c2","name":"see","arguments":"{}"},
		{"type":"function_call_output","call_id":"c1","output":"d"},
		{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"e"}]},
		{"type":"message","role":"user","content":[{"type":"input_text","text":"f"}]}
	]}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `[user||a||][assistant|hm|b|c1look{"x": 1}c2see{}|][tool||d||c1][tool||e||c2][user||f||]`, s.server.text.Decode(s.engine.requests()[0].Prompt, true))
}

// Tools that have to be called, and text that has to be of a form.
func TestResponsesForms(t *testing.T) {
	s := withReply(t, toolTemplate, "hermes", `{"at":"sky"}`)
	const tool = `"tools":[{"type":"function","name":"look","description":"d","parameters":{"type":"object","properties":{"at":{"type":"string"}},"required":["at"]}}]`
	got := s.post(t, responsesRoute, `{"input":"a",`+tool+`,"tool_choice":{"type":"function","name":"look"}}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"function_call"`, member(t, got.body, "output", "0", "type"))
	require.Equal(t, `"{\"at\":\"sky\"}"`, member(t, got.body, "output", "0", "arguments"))
	require.JSONEq(t, `{"type":"function","name":"look"}`, member(t, got.body, "tool_choice"))
	require.NotNil(t, s.engine.requests()[0].Constraint)
	format := `{"type":"json_schema","name":"place","strict":true,"schema":{"type":"object","properties":{"at":{"type":"string"}},"required":["at"],"additionalProperties":false}}`
	got = s.post(t, responsesRoute, `{"input":"a","text":{"format":`+format+`}}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"{\"at\":\"sky\"}"`, member(t, got.body, "output", "0", "content", "0", "text"))
	require.JSONEq(t, format, member(t, got.body, "text", "format"))
	require.NotNil(t, s.engine.requests()[1].Constraint)
	require.Equal(t, 200, s.post(t, responsesRoute, `{"input":"a","text":{"format":{"type":"text"},"verbosity":"medium"}}`).status)
	require.Nil(t, s.engine.requests()[2].Constraint)
	require.Equal(t, 200, s.post(t, responsesRoute, `{"input":"a","text":{"format":{"type":"json_object"}}}`).status)
	require.NotNil(t, s.engine.requests()[3].Constraint)
}

// An answer that is cut says so.
func TestResponsesIncomplete(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "Hi", runtime.FinishLength, nil }
	got := s.post(t, responsesRoute, `{"input":"a"}`)
	require.Equal(t, `"incomplete"`, member(t, got.body, "status"))
	require.Equal(t, `"max_output_tokens"`, member(t, got.body, "incomplete_details", "reason"))
	require.Equal(t, `"incomplete"`, member(t, got.body, "output", "0", "status"))
	kinds, _ := eventsOf(t, s.post(t, responsesRoute, `{"input":"a","stream":true}`))
	require.Equal(t, "incomplete", kinds[len(kinds)-1])
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "", runtime.FinishEOS, nil }
	require.Equal(t, `""`, member(t, s.post(t, responsesRoute, `{"input":"a"}`).body, "output", "0", "content", "0", "text"))
}

func TestResponsesLogprobs(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, responsesRoute, `{"input":"a","include":["message.output_text.logprobs","reasoning.encrypted_content"],"top_logprobs":1}`)
	require.Equal(t, 200, got.status, got.body)
	var tokens []chatToken
	require.NoError(t, json.Unmarshal([]byte(member(t, got.body, "output", "0", "content", "0", "logprobs")), &tokens))
	require.Len(t, tokens, 9)
	require.Len(t, tokens[0].Top, 1)
}

// A fault on the way is an event that OpenAI's clients take for one.
func TestResponsesFault(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "Hi", "", runtime.ErrNotFinite }
	kinds, bodies := eventsOf(t, s.post(t, responsesRoute, `{"input":"a","stream":true}`))
	require.Equal(t, "error", kinds[len(kinds)-1])
	last := bodies[len(bodies)-1]
	require.Equal(t, member(t, last, "message"), member(t, last, "error", "message"))
}

func TestResponsesRefusals(t *testing.T) {
	s := newSite(t, nil)
	const stateless = "names what a server has kept, and this one is stateless, it keeps nothing: send all of the conversation in input"
	for body, want := range map[string]string{
		`{}`:           "input is missing: give a text, or the items of a conversation",
		`{"input":[]}`: "input is missing: give a text, or the items of a conversation",
		`{"input":7}`:  "input wants a string or an array of items, not a number",
		`{"input":"a","previous_response_id":"r"}`:                                       "previous_response_id " + stateless,
		`{"input":"a","conversation":{"id":"c"}}`:                                        "conversation " + stateless,
		`{"input":[{"type":"item_reference","id":"m"}]}`:                                 "input[0] " + stateless,
		`{"input":"a","store":true}`:                                                     "store is not implemented: leave it out or send false",
		`{"input":"a","background":true}`:                                                "background is not implemented: leave it out or send false",
		`{"input":"a","truncation":"auto"}`:                                              `truncation is not implemented: leave it out or send "disabled"`,
		`{"input":"a","reasoning":{"effort":"some"}}`:                                    "reasoning.effort is \"some\": give one of none, minimal, low, medium, high, xhigh, max",
		`{"input":"a","reasoning":{"summary":"detailed"}}`:                               "reasoning.summary is not implemented: leave it out or send \"auto\"",
		`{"input":"a","include":["file_search_call.results"]}`:                           `include[0] is "file_search_call.results": give message.output_text.logprobs or reasoning.encrypted_content`,
		`{"input":"a","top_logprobs":1}`:                                                 `top_logprobs needs include: ["message.output_text.logprobs"]`,
		`{"input":"a","messages":[]}`:                                                    "messages is not a field of this request",
		`{"input":"a","max_output_tokens":-1}`:                                           "max_output_tokens is -1, below 0",
		`{"input":"a","max_output_tokens":999}`:                                          "max_output_tokens is 999 and the prompt has",
		`{"input":"a","temperature":-1}`:                                                 "temperature is -1, outside 0 to 100",
		`{"input":[{"role":"tool","content":"a"}]}`:                                      `input[0].role is "tool": give system, developer, user or assistant`,
		`{"input":[{"role":"user"}]}`:                                                    "input[0].content is missing: give a text, or parts",
		`{"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}`: `input[0].content[0].type is "input_image": only text is implemented, input_text and output_text`,
		`{"input":[{"role":"user","content":[{"type":"input_text"}]}]}`:                  "input[0].content[0].text is missing",
		`{"input":[{"role":"user","content":"a","mood":1}]}`:                             "input[0].mood is not a field of this request",
		`{"input":[{"type":"web_search_call"}]}`:                                         `input[0].type is "web_search_call": give message, function_call, function_call_output or reasoning`,
		`{"input":[{"type":"function_call_output","call_id":"c","output":"a"}]}`:         `input[0].call_id is "c", and no function_call before it has that: send the call, too; the server is stateless, it keeps nothing`,
		`{"input":"a","tools":[{"type":"web_search"}]}`:                                  `tools[0].type is "web_search": only function is implemented`,
		`{"input":"a","tools":[{"type":"function"}]}`:                                    "tools[0].name is missing",
		`{"input":"a","tools":[{"type":"function","name":"f","parameters":{"type":"array"}}],"tool_choice":"required"}`: `tools[0].parameters.type is "array": the arguments of a call are an object`,
		`{"input":"a","tool_choice":{"type":"file_search"}}`:                                                            `tool_choice.type is "file_search": give auto, none, required, a function or allowed_tools`,
		`{"input":"a","tool_choice":{"type":"allowed_tools"}}`:                                                          `tool_choice.mode is "": give auto or required`,
		`{"input":"a","text":{"format":{"type":"json_schema","name":"a"}}}`:                                             "text.format.schema is missing: give the JSON schema",
		`{"input":"a","text":{"format":{"type":"json_schema","name":"a","schema":{"type":"king"}}}}`:                    "text.format.schema: #/type names no type",
		`{"input":"a","stream_options":{"include_usage":true},"stream":true}`:                                           "stream_options.include_usage is not a field of this request",
		`{"input":"` + strings.Repeat("a ", 200) + `"}`:                                                                 "input has ",
	} {
		got := s.post(t, responsesRoute, body)
		require.Equal(t, 400, got.status, "%s: %s", body, got.body)
		require.Contains(t, member(t, got.body, "error", "message"), strings.Trim(fmt.Sprintf("%q", want), `"`), body)
	}
	require.Equal(t, 404, s.post(t, responsesRoute, `{"input":"a","model":"nobody"}`).status)
}
