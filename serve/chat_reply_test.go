package serve

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// withReply is a site whose base has a template, writes calls in a format, and says
// a text.
func withReply(t *testing.T, template, format, text string) *site {
	t.Helper()
	s := newSite(t, func(c *Config, p *Parts) {
		var err error
		p.Chat, err = chat.New(template)
		require.NoError(t, err)
		c.ToolParser = format
	})
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return text, runtime.FinishEOS, nil }
	return s
}

const (
	toolTemplate = `{% for m in messages %}{{ m.content }}{{ m.tool_calls }}{% endfor %}{% if tools %}<tool_call>{{ tools[0].function.name }}{% endif %}`
	toolBody     = `"messages":[{"role":"user","content":"Yo"}],"tools":[{"type":"function","function":{"name":"look"}}]`
)

// streamed is what the deltas of a stream's only choice come to.
type streamed struct {
	Content   string     `json:"content"`
	Reasoning string     `json:"reasoning_content"`
	Calls     []chatCall `json:"tool_calls"`
	finish    string
}

func streamOf(t *testing.T, a answer) (got streamed) {
	t.Helper()
	require.Equal(t, 200, a.status, a.body)
	events := a.events()
	for _, e := range events[:len(events)-1] {
		var delta streamed
		require.NoError(t, json.Unmarshal([]byte(member(t, e, "choices", "0", "delta")), &delta))
		got.Content += delta.Content
		got.Reasoning += delta.Reasoning
		got.Calls = append(got.Calls, delta.Calls...)
		if reason := member(t, e, "choices", "0", "finish_reason"); reason != "null" {
			got.finish = reason
		}
	}
	return got
}

// Calls leave the content, whole and streamed.
func TestToolCalls(t *testing.T) {
	s := withReply(t, toolTemplate, "", `I look.<tool_call>{"name": "look", "arguments": {"at": "sky"}}</tool_call><tool_call>{"name": "go", "arguments": {}}</tool_call>`)
	got := s.post(t, chatRoute, `{`+toolBody+`}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"tool_calls"`, member(t, got.body, "choices", "0", "finish_reason"))
	require.Equal(t, `"I look."`, member(t, got.body, "choices", "0", "message", "content"))
	var calls []chatCall
	require.NoError(t, json.Unmarshal([]byte(member(t, got.body, "choices", "0", "message", "tool_calls")), &calls))
	require.Len(t, calls, 2)
	require.Equal(t, chatCallFunction{"look", `{"at": "sky"}`}, calls[0].Function)
	require.Equal(t, "function", calls[0].Type)
	require.NotEqual(t, calls[0].ID, calls[1].ID)
	require.Nil(t, calls[0].Index)

	stream := streamOf(t, s.post(t, chatRoute, `{"stream":true,`+toolBody+`}`))
	require.Equal(t, "I look.", stream.Content)
	require.Equal(t, `"tool_calls"`, stream.finish)
	require.Len(t, stream.Calls, 2)
	for i, c := range stream.Calls {
		require.Equal(t, i, *c.Index)
		require.Equal(t, calls[i].Function, c.Function)
	}

	// One at a time, if that is all that is wanted.
	got = s.post(t, chatRoute, `{"parallel_tool_calls":false,`+toolBody+`}`)
	require.NoError(t, json.Unmarshal([]byte(member(t, got.body, "choices", "0", "message", "tool_calls")), &calls))
	require.Len(t, calls, 1)
	require.Len(t, streamOf(t, s.post(t, chatRoute, `{"stream":true,"parallel_tool_calls":false,`+toolBody+`}`)).Calls, 1)

	// An answer that is cut says so.
	got = s.post(t, chatRoute, `{"max_tokens":70,`+toolBody+`}`)
	require.Equal(t, `"length"`, member(t, got.body, "choices", "0", "finish_reason"))

	// Log-probabilities are told of every token, of those of calls too.
	got = s.post(t, chatRoute, `{"logprobs":true,`+toolBody+`}`)
	var logprobs []json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(member(t, got.body, "choices", "0", "logprobs", "content")), &logprobs))
	require.Len(t, logprobs, int(number(t, got.body, "usage", "completion_tokens")))
}

// A call alone has no content, and none is made where nobody may be called.
func TestToolChoice(t *testing.T) {
	const text = `<tool_call>{"name": "look", "arguments": {}}</tool_call>`
	s := withReply(t, toolTemplate, "", text)
	got := s.post(t, chatRoute, `{"tool_choice":"auto",`+toolBody+`}`)
	require.Equal(t, `null`, member(t, got.body, "choices", "0", "message", "content"))
	for name, body := range map[string]string{
		"none": `{"tool_choice":"none",` + toolBody + `}`, "no tools": `{"messages":[{"role":"user","content":"Yo"}]}`,
	} {
		got = s.post(t, chatRoute, body)
		require.Equal(t, fmt.Sprintf("%q", text), member(t, got.body, "choices", "0", "message", "content"), name)
		require.Equal(t, `"stop"`, member(t, got.body, "choices", "0", "finish_reason"))
		requests := s.engine.requests()
		require.NotContains(t, s.server.text.Decode(requests[len(requests)-1].Prompt, true), "look", "the prompt offers no tools")
	}
	for choice, want := range map[string]string{
		`"any"`: `tool_choice is \"any\": give auto, none, required, a function or allowed_tools`, `1`: `tool_choice wants a string or an object, not a number`,
		`{"type":"function"}`: `tool_choice names no function`, `{"type":"function","function":{"name":"nope"}}`: `tool_choice names the function \"nope\", which is none of tools`,
		`"required","response_format":{"type":"json_object"}`: `both say what the answer is kept to`, `"required","min_tokens":3`: `min_tokens forbids the end`,
	} {
		got := s.post(t, chatRoute, `{"tool_choice":`+choice+`,`+toolBody+`}`)
		require.Equal(t, 400, got.status, choice)
		require.Contains(t, got.body, want)
	}
}

// Of the tools some are chosen: the others are not offered, nor are they kept to.
func TestAllowedTools(t *testing.T) {
	const tools = `"tools":[{"type":"function","function":{"name":"look"}},{"type":"function","function":{"name":"go"}}],"messages":[{"role":"user","content":"Yo"}]`
	chosen := func(mode, names string) string {
		return `"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"` + mode + `","tools":[` + names + `]}},` + tools
	}
	const look = `{"type":"function","function":{"name":"look"}}`
	s := withReply(t, toolTemplate, "", `[{"name": "look", "parameters": {}}]`)
	for _, mode := range []string{"auto", "required"} {
		got := s.post(t, chatRoute, `{`+chosen(mode, look)+`}`)
		require.Equal(t, 200, got.status, got.body)
		requests := s.engine.requests()
		r := requests[len(requests)-1]
		prompt := s.server.text.Decode(r.Prompt, true)
		require.Contains(t, prompt, "look")
		require.NotContains(t, prompt, "go")
		require.Equal(t, mode == "required", r.Constraint != nil)
	}
	require.Equal(t, `"look"`, member(t, s.post(t, chatRoute, `{`+chosen("required", look)+`}`).body, "choices", "0", "message", "tool_calls", "0", "function", "name"))

	var body chatRequest
	require.NoError(t, decode([]byte(`{`+chosen("required", look)+`}`), &body))
	form, err := body.callForm()
	require.NoError(t, err)
	require.Contains(t, form.text, `"look"`)
	require.NotContains(t, form.text, `"go"`)

	for body, want := range map[string]string{
		chosen("none", look): `tool_choice.allowed_tools.mode is \"none\": give auto or required`,
		chosen("auto", ""):   `tool_choice.allowed_tools.tools names no tool: name at least one`,
		chosen("auto", `{"type":"function","function":{"name":"nope"}}`): `tool_choice allows the function \"nope\", which is none of tools`,
		chosen("auto", `{"type":"function"}`):                            `tool_choice.allowed_tools.tools[0] names no function`,
		chosen("auto", look+`,{"type":"web_search"}`):                    `tool_choice.allowed_tools.tools[1] names no function`,
	} {
		got := s.post(t, chatRoute, `{`+body+`}`)
		require.Equal(t, 400, got.status, body)
		require.Contains(t, got.body, want)
	}

	got := s.post(t, responsesRoute, `{"input":"Yo","tools":[{"type":"function","name":"look"},{"type":"function","name":"go"}],"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"look"}]}}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"look"`, member(t, got.body, "output", "0", "name"))
	require.Equal(t, `"allowed_tools"`, member(t, got.body, "tool_choice", "type"))
	require.Equal(t, 400, s.post(t, responsesRoute, `{"input":"Yo","tools":[{"type":"function","name":"look"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"go"}]}}`).status)
}

// What has to be called is called: the answer is kept to a schema of calls.
func TestForcedCalls(t *testing.T) {
	tools := `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{"at":{"$ref":"#/$defs/place"}},"required":["at"],"additionalProperties":false,"$defs":{"place":{"enum":["sky","sea"]}}}}},
		{"type":"function","function":{"name":"go"}}],"messages":[{"role":"user","content":"Yo"}]`
	s := withReply(t, toolTemplate, "", `{"at": "sky"}`)
	got := s.post(t, chatRoute, `{"tool_choice":{"type":"function","function":{"name":"look"}},`+tools+`}`)
	require.Equal(t, 200, got.status, got.body)
	require.JSONEq(t, `{"name":"look","arguments":"{\"at\": \"sky\"}"}`, member(t, got.body, "choices", "0", "message", "tool_calls", "0", "function"))
	require.Equal(t, "null", member(t, got.body, "choices", "0", "message", "content"))
	require.Equal(t, `"stop"`, member(t, got.body, "choices", "0", "finish_reason"), "it was no idea of the model's")
	require.NotNil(t, s.engine.requests()[0].Constraint)

	s = withReply(t, toolTemplate, "", `[{"name": "look", "parameters": {"at": "sea"}}, {"name": "go", "parameters": {}}]`)
	got = s.post(t, chatRoute, `{"tool_choice":"required",`+tools+`}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"go"`, member(t, got.body, "choices", "0", "message", "tool_calls", "1", "function", "name"))
	require.Equal(t, `"tool_calls"`, member(t, got.body, "choices", "0", "finish_reason"))
	require.Len(t, streamOf(t, s.post(t, chatRoute, `{"stream":true,"tool_choice":"required",`+tools+`}`)).Calls, 2)
	require.Contains(t, s.post(t, chatRoute, `{"tool_choice":"required","messages":[{"role":"user","content":"Yo"}]}`).body, "there are no tools")

	var body chatRequest
	require.NoError(t, decode([]byte(`{`+tools+`}`), &body))
	schema, err := callsSchema(body.Tools, false)
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"array","minItems":1,"maxItems":1,"$defs":{
		"t0":{"type":"object","properties":{"at":{"$ref":"#/$defs/t0/$defs/place"}},"required":["at"],"additionalProperties":false,"$defs":{"place":{"enum":["sky","sea"]}}},
		"t1":{"type":"object","properties":{},"additionalProperties":false}},"items":{"anyOf":[
		{"type":"object","properties":{"name":{"const":"look"},"parameters":{"$ref":"#/$defs/t0"}},"required":["name","parameters"],"additionalProperties":false},
		{"type":"object","properties":{"name":{"const":"go"},"parameters":{"$ref":"#/$defs/t1"}},"required":["name","parameters"],"additionalProperties":false}]}}`, schema)
}

// The references of each tool's schema lead into it, wherever it stands.
func TestReferencesOfForcedCalls(t *testing.T) {
	schemas := []string{
		`{"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false}`,
		`{"$id":"https://example.com/look","properties":{"at":{"$ref":"#/definitions/X"}},"required":["at"],"additionalProperties":false,"definitions":{"X":{"enum":["sky"]}}}`,
		`{"properties":{"at":{"$ref":"#/$defs/X"},"const":{"$ref":"#/properties/at"}},"required":["at"],"additionalProperties":false,"$defs":{"X":{"enum":["sea",{"$ref":"#"}]}}}`,
		`{"$ref":"#/$defs/X","$defs":{"X":{"type":"object","properties":{"y":{"type":"integer"}},"required":["y"],"additionalProperties":false}}}`,
	}
	arguments := [][2]string{ // that satisfy, and that do not
		{`{"next": {"next": {}}}`, `{"next": {"nest": {}}}`}, {`{"at": "sky"}`, `{"at": "sea"}`},
		{`{"at": {"$ref": "#"}, "const": "sea"}`, `{"at": "sky"}`}, {`{"y": 7}`, `{"y": "7"}`},
	}
	var tools []chatTool
	for i, schema := range schemas {
		tools = append(tools, chatTool{name: fmt.Sprintf("f%d", i), parameters: json.RawMessage(schema)})
	}
	all, err := callsSchema(tools, true)
	require.NoError(t, err)
	whole, err := grammar.Schema([]byte(all))
	require.NoError(t, err, all)
	for i, pair := range arguments {
		alone, err := tools[i].schema()
		require.NoError(t, err)
		one, err := grammar.Schema(alone)
		require.NoError(t, err, string(alone))
		for n, text := range pair {
			require.Equal(t, n == 0, one.Match(text), text)
			require.Equal(t, n == 0, whole.Match(fmt.Sprintf(`[{"name": "f%d", "parameters": %s}]`, i, text)), text)
		}
	}
}

// The arguments of a call that has to be made are an object.
func TestForcedArgumentsAreAnObject(t *testing.T) {
	ask := func(choice, parameters string) answer {
		s := withReply(t, toolTemplate, "", `{"at": 1}`)
		return s.post(t, chatRoute, `{"tool_choice":`+choice+`,"tools":[{"type":"function","function":{"name":"look","parameters":`+parameters+`}}],"messages":[{"role":"user","content":"Yo"}]}`)
	}
	named := `{"type":"function","function":{"name":"look"}}`
	for _, choice := range []string{named, `"required"`} {
		for parameters, want := range map[string]string{
			`{"type":"string"}`: `tools[0].function.parameters.type is \"string\": the arguments of a call are an object`, `true`: `tools[0].function.parameters wants the schema of an object, not true`,
			`{"type":["object","null"]}`: `tools[0].function.parameters.type is [\"object\",\"null\"]`,
		} {
			got := ask(choice, parameters)
			require.Equal(t, 400, got.status, got.body)
			require.Contains(t, got.body, want)
		}
	}
	for _, parameters := range []string{`{}`, ` { } `, `{"description":"any"}`, `{"properties":{"at":{}}}`} {
		got := ask(named, parameters)
		require.Equal(t, 200, got.status, got.body)
		require.JSONEq(t, `{"name":"look","arguments":"{\"at\": 1}"}`, member(t, got.body, "choices", "0", "message", "tool_calls", "0", "function"))
	}
}

// A model that is kept to calls writes calls, whatever it would have said.
func TestForcedCallsOfAModel(t *testing.T) {
	s := realSite(t, func(_ *catalogue.Options, p *Parts) {
		var err error
		p.Chat, err = chat.New(toolTemplate)
		require.NoError(t, err)
	})
	for choice, calls := range map[string]string{`"required"`: "look", `{"type":"function","function":{"name":"go"}}`: "go"} {
		got := s.post(t, chatRoute, `{"messages":[{"role":"user","content":"Hello"}],"temperature":0,"parallel_tool_calls":false,"tool_choice":`+choice+`,"tools":[
			{"type":"function","function":{"name":"`+calls+`","parameters":{"type":"object","properties":{"at":{"enum":["sky"]}},"required":["at"],"additionalProperties":false}}}]}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"`+calls+`"`, member(t, got.body, "choices", "0", "message", "tool_calls", "0", "function", "name"))
		require.JSONEq(t, `{"at":"sky"}`, unquoted(t, member(t, got.body, "choices", "0", "message", "tool_calls", "0", "function", "arguments")))
	}
}

func unquoted(t *testing.T, quoted string) (text string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(quoted), &text))
	return text
}

// The format is the chat template's, or the operator's; without one calls stay text.
func TestToolParser(t *testing.T) {
	const other = `{% for m in messages %}{{ m.content }}{% endfor %}{{ tools }}`
	for format, text := range map[string]string{
		"hermes": `<tool_call>{"name": "look", "arguments": {}}</tool_call>`, "llama3_json": `{"name": "look", "parameters": {}}`, "mistral": `[TOOL_CALLS]look{}`,
	} {
		body := `{"messages":[{"role":"user","content":"Y"}],"tools":[{"type":"function","function":{"name":"look"}}]}`
		got := withReply(t, other, format, text).post(t, chatRoute, body)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"look"`, member(t, got.body, "choices", "0", "message", "tool_calls", "0", "function", "name"), format)
		for _, format := range []string{"auto", "none"} {
			got = withReply(t, other, format, text).post(t, chatRoute, body)
			require.Equal(t, fmt.Sprintf("%q", text), member(t, got.body, "choices", "0", "message", "content"))
		}
	}
	require.EqualError(t, CheckToolParser("x"), `"x" is no format of calls: there are hermes, llama3_json, mistral`)
	require.ErrorContains(t, Config{Name: "x", ToolParser: "x"}.Validate(), "field ToolParser")
}

// What a model thinks is no content.
func TestReasoningContent(t *testing.T) {
	const template = `{% for m in messages %}{{ m.content }}{% endfor %}{# </think> #}{% if open %}<think>{% endif %}`
	s := withReply(t, template, "", "<think>It is two.</think>Two.")
	body := `"messages":[{"role":"user","content":"Yo"}]`
	got := s.post(t, chatRoute, `{`+body+`}`)
	require.Equal(t, `"Two."`, member(t, got.body, "choices", "0", "message", "content"))
	require.Equal(t, `"It is two."`, member(t, got.body, "choices", "0", "message", "reasoning_content"))
	stream := streamOf(t, s.post(t, chatRoute, `{"stream":true,`+body+`}`))
	require.Equal(t, streamed{Content: "Two.", Reasoning: "It is two.", finish: `"stop"`}, stream)
	requests := len(s.engine.requests())
	got = s.post(t, chatRoute, `{"response_format":{"type":"json_object"},`+body+`}`)
	require.Len(t, s.engine.requests(), requests+1, got.body)
	require.NotContains(t, got.body, "reasoning_content", "what is kept to a schema has no place for it")
	got = s.post(t, chatRoute, `{"include_reasoning":false,`+body+`}`)
	require.NotContains(t, got.body, "It is two")
	require.Contains(t, got.body, "Two.")
	got = s.post(t, chatRoute, `{"max_tokens":12,`+body+`}`)
	require.Equal(t, `null`, member(t, got.body, "choices", "0", "message", "content"))

	s = withReply(t, template, "", "It is two.</think>Two.")
	got = s.post(t, chatRoute, `{"chat_template_kwargs":{"open":true},`+body+`}`)
	require.Equal(t, `"It is two."`, member(t, got.body, "choices", "0", "message", "reasoning_content"))
}

// What vLLM's clients ask for beside.
func TestVLLMFields(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "Hi", runtime.FinishEOS, nil }
	last := func() *runtime.Request { r := s.engine.requests(); return r[len(r)-1] }
	chatBody := `"messages":[{"role":"user","content":"Yo"}]`

	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":"a","min_tokens":3,"max_tokens":5}`).status)
	require.Equal(t, 3, last().MinTokens)
	require.Contains(t, s.post(t, "/v1/completions", `{"prompt":"a","min_tokens":6,"max_tokens":5}`).body, "min_tokens is 6, and the answer has at most 5 tokens")
	require.Equal(t, 200, s.post(t, chatRoute, `{"min_tokens":3,"ignore_eos":true,`+chatBody+`}`).status)
	require.True(t, last().IgnoreEOS)

	got := s.post(t, "/v1/completions", `{"prompt":"abcdef","truncate_prompt_tokens":2}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "ef", s.server.text.Decode(last().Prompt, true))
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":[5,6,7],"truncate_prompt_tokens":2}`).status)
	require.Equal(t, []int32{6, 7}, last().Prompt)
	long := fmt.Sprintf(`"%0300d"`, 7)
	require.Equal(t, 400, s.post(t, "/v1/completions", `{"prompt":`+long+`}`).status)
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":`+long+`,"truncate_prompt_tokens":-1,"max_tokens":28}`).status)
	require.Len(t, last().Prompt, 100)
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":`+long+`,"truncate_prompt_tokens":-1}`).status)
	require.Len(t, last().Prompt, 128-defaultMaxTokens)
	require.Equal(t, defaultMaxTokens, last().MaxTokens)
	require.Equal(t, 200, s.post(t, chatRoute, `{"truncate_prompt_tokens":-1,"messages":[{"role":"user","content":`+long+`}]}`).status)
	require.Len(t, last().Prompt, 127)
	require.Equal(t, 400, s.post(t, "/v1/completions", `{"prompt":"a","truncate_prompt_tokens":0}`).status)

	require.Equal(t, 200, s.post(t, "/generate", `{"inputs":"abcdef","parameters":{"truncate":2}}`).status)
	require.Equal(t, "ef", s.server.text.Decode(last().Prompt, true))
	require.Equal(t, `"efHi"`, member(t, s.post(t, "/generate", `{"inputs":"abcdef","parameters":{"truncate":2,"return_full_text":true}}`).body, "generated_text"))
	require.Equal(t, 422, s.post(t, "/generate", `{"inputs":"a","parameters":{"truncate":0}}`).status)

	got = s.post(t, "/v1/completions", `{"prompt":[59,81],"return_token_ids":true}`)
	require.JSONEq(t, `[59,81]`, member(t, got.body, "choices", "0", "prompt_token_ids"))
	ids := member(t, got.body, "choices", "0", "token_ids")
	got = s.post(t, chatRoute, `{"return_token_ids":true,`+chatBody+`}`)
	require.JSONEq(t, ids, member(t, got.body, "choices", "0", "token_ids"))
	require.Len(t, last().Prompt, int(number(t, got.body, "usage", "prompt_tokens")))
	require.Contains(t, got.body, `"prompt_token_ids":[`)
	events := s.post(t, chatRoute, `{"stream":true,"return_token_ids":true,`+chatBody+`}`).events()
	require.Contains(t, events[0], `"prompt_token_ids":[`)
	require.Contains(t, events[1], `"token_ids":[`)

	got = s.post(t, "/v1/completions", `{"prompt":"Yo","prompt_logprobs":1}`)
	require.Equal(t, `null`, member(t, got.body, "choices", "0", "prompt_logprobs", "0"))
	require.Equal(t, `null`, member(t, got.body, "choices", "0", "logprobs"))
	y, _ := s.server.text.ID("Y")
	require.Contains(t, member(t, got.body, "choices", "0", "prompt_logprobs", "1"), fmt.Sprintf(`"%d":{"logprob":-0.25`, y))
	got = s.post(t, chatRoute, `{"prompt_logprobs":0,`+chatBody+`}`)
	require.Contains(t, got.body, `"prompt_logprobs":[null,{`)
	require.Equal(t, 400, s.post(t, chatRoute, `{"prompt_logprobs":0,"stream":true,`+chatBody+`}`).status)
	require.Equal(t, 400, s.post(t, chatRoute, `{"prompt_logprobs":21,`+chatBody+`}`).status)

	goOn := `"continue_final_message":true,"messages":[{"role":"user","content":"Yo"},{"role":"assistant","content":"Well,"}]`
	require.Equal(t, `"Hi"`, member(t, s.post(t, chatRoute, `{`+goOn+`}`).body, "choices", "0", "message", "content"))
	require.Equal(t, `"Well,Hi"`, member(t, s.post(t, chatRoute, `{"echo":true,`+goOn+`}`).body, "choices", "0", "message", "content"))
	require.Equal(t, "Well,Hi", streamOf(t, s.post(t, chatRoute, `{"stream":true,"echo":true,`+goOn+`}`)).Content)
	got = s.post(t, chatRoute, `{"echo":true,`+chatBody+`}`)
	require.Equal(t, 400, got.status)
	require.Equal(t, `"echo"`, member(t, got.body, "error", "param"))
}
