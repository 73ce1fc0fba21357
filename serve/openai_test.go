package serve

import (
	"encoding/json"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

// masked is an answer without what differs from call to call.
func masked(t *testing.T, body string) string {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	delete(v, "id")
	delete(v, "created")
	b, err := encode(v)
	require.NoError(t, err)
	return string(b)
}

func TestCompletions(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/v1/completions", `{"model":"base-model","prompt":"Yo"}`)
	require.JSONEq(t, `{"object":"text_completion","model":"base-model","choices":[{"index":0,"text":"Hi there.","logprobs":null,"finish_reason":"stop"}],"system_fingerprint":"peft-serve-1.2.3",
		"usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":1}}}`, masked(t, got.body))
	require.Equal(t, "3", got.header.Get("X-Queue-Time"))
	require.Equal(t, "9", got.header.Get("X-Inference-Time"))
	require.Equal(t, "5", got.header.Get("X-Time-To-First-Token"))
	require.Empty(t, got.header.Get("X-Adapter-Id"))
	require.NotEmpty(t, got.header.Get("X-Request-Id"))
	r := s.engine.requests()[0]
	require.Equal(t, 16, r.MaxTokens)
	require.Equal(t, float32(1), r.Sampling.Temperature)

	got = s.post(t, "/v1/completions", `{"model":"sql","prompt":"Yo","max_tokens":2,"seed":7,"temperature":0,"stop":["x"],"logit_bias":{"5":-100},"top_k":-1}`,
		"X-Request-Id", "mine", "X-Gateway-Inference-Fairness-Id", "team")
	require.Contains(t, got.body, `"finish_reason":"length"`)
	require.Contains(t, got.body, `"model":"sql"`)
	require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
	require.Equal(t, "digest-of-sql", got.header.Get("X-Adapter-Digest"))
	require.Equal(t, "mine", got.header.Get("X-Request-Id"))
	r = s.engine.requests()[1]
	require.Equal(t, runtime.Sampling{TopP: 1, Repetition: 1, Bias: map[int32]float32{5: -100}, Seed: 7}, r.Sampling)
	require.Equal(t, []string{"x"}, r.Stop)
	require.Equal(t, "team", r.Group)
	require.Equal(t, "sql", r.Lease.Name())
}

func TestCompletionsEchoLogprobs(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "Hi", runtime.FinishEOS, nil }
	got := s.post(t, "/v1/completions", `{"prompt":"Yo","echo":true,"logprobs":1}`)
	require.JSONEq(t, `[{"index":0,"text":"YoHi","finish_reason":"stop","logprobs":{"tokens":["<s>","Y","o","H","i"],
		"token_logprobs":[null,-0.25,-0.5,-0.25,-0.5],
		"top_logprobs":[null,{"Y":-0.25},{"o":-0.5},{"H":-0.25},{"i":-0.5}],"text_offset":[0,0,1,2,3]}}]`, member(t, got.body, "choices"))

	// Scoring: the prompt alone.
	got = s.post(t, "/v1/completions", `{"prompt":"Yo","echo":true,"logprobs":2,"max_tokens":0}`)
	require.JSONEq(t, `[{"index":0,"text":"Yo","finish_reason":"length","logprobs":{"tokens":["<s>","Y","o"],"token_logprobs":[null,-0.25,-0.5],
		"top_logprobs":[null,{"Y":-0.25,"!":-3},{"o":-0.5,"!":-3}],"text_offset":[0,0,1]}}]`, member(t, got.body, "choices"))

	// Tokens have the text that they decode to.
	got = s.post(t, "/v1/completions", `{"prompt":[0,59,81],"echo":true,"max_tokens":1}`)
	require.Equal(t, `"`+s.engine.text.Decode([]int32{59, 81}, true)+`H"`, member(t, got.body, "choices", "0", "text"))
	got = s.post(t, "/v1/completions", `{"prompt":"Yo","logprobs":0}`)
	require.JSONEq(t, `{"tokens":["H","i"],"token_logprobs":[-0.25,-0.5],"top_logprobs":[{"H":-0.25},{"i":-0.5}],"text_offset":[0,1]}`, member(t, got.body, "choices", "0", "logprobs"))
}

func TestCompletionsManyChoices(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Parallel = 2 })
	s.engine.script = func(r *runtime.Request) (string, runtime.Finish, error) {
		return s.engine.text.Decode(r.Prompt, true) + string(rune('0'+r.Sampling.Seed)), runtime.FinishEOS, nil
	}
	got := s.post(t, "/v1/completions", `{"prompt":["A","B"],"n":3,"seed":4}`)
	for i, want := range []string{"A4", "A5", "A6", "B4", "B5", "B6"} {
		require.Equal(t, `"`+want+`"`, member(t, got.body, "choices", string(rune('0'+i)), "text"))
	}
	require.JSONEq(t, `{"prompt_tokens":4,"completion_tokens":12,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":2}}`, member(t, got.body, "usage"))

	got = s.post(t, "/v1/completions", `{"prompt":["A","B"],"n":2,"seed":4,"stream":true}`)
	texts := map[string]string{}
	for _, e := range got.events()[:len(got.events())-1] {
		texts[member(t, e, "choices", "0", "index")] += strings.Trim(member(t, e, "choices", "0", "text"), `"`)
	}
	require.Equal(t, map[string]string{"0": "A4", "1": "A5", "2": "B4", "3": "B5"}, texts)

	// One that loses its place in the queue waits for another one.
	again, tries := make(chan struct{}), atomic.Int32{}
	s.engine.script = func(r *runtime.Request) (string, runtime.Finish, error) {
		switch {
		case r.Sampling.Seed == 4:
			<-again
		case tries.Add(1) == 1:
			for s.engine.running.Load() < 2 {
				goruntime.Gosched()
			}
			return "", "", runtime.ErrQueueFull
		default:
			close(again)
		}
		return string(rune('0' + r.Sampling.Seed)), runtime.FinishEOS, nil
	}
	got = s.post(t, "/v1/completions", `{"prompt":"A","n":2,"seed":4}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"5"`, member(t, got.body, "choices", "1", "text"))

	// One that fails fails all, and the rest is given up.
	s.engine.refuse = runtime.ErrQueueFull
	require.Equal(t, 429, s.post(t, "/v1/completions", `{"prompt":["A","B"],"n":3}`).status)
	require.Zero(t, s.engine.running.Load())
}

func TestCompletionsStream(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "Hi", runtime.FinishEOS, nil }
	got := s.post(t, "/v1/completions", `{"model":"sql","prompt":"Yo","stream":true,"stream_options":{"include_usage":true},"echo":true,"logprobs":0}`)
	require.Equal(t, "text/event-stream; charset=utf-8", got.header.Get("Content-Type"))
	require.Equal(t, "no", got.header.Get("X-Accel-Buffering"))
	require.Equal(t, "digest-of-sql", got.header.Get("X-Adapter-Digest"))
	events := got.events()
	require.Len(t, events, 5)
	require.JSONEq(t, `[{"index":0,"text":"Yo","finish_reason":null,"logprobs":{"tokens":["<s>","Y","o"],"token_logprobs":[null,-0.25,-0.5],"top_logprobs":[null,{"Y":-0.25},{"o":-0.5}],"text_offset":[0,0,1]}}]`, member(t, events[0], "choices"))
	require.JSONEq(t, `[{"index":0,"text":"i","finish_reason":"stop","logprobs":{"tokens":["i"],"token_logprobs":[-0.5],"top_logprobs":[{"i":-0.5}],"text_offset":[3]}}]`, member(t, events[2], "choices"))
	require.JSONEq(t, `{"object":"text_completion","model":"sql","choices":[],"system_fingerprint":"peft-serve-1.2.3","usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}}`, masked(t, events[3]))
	require.Equal(t, "[DONE]", events[4])
}

func TestChat(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/v1/chat/completions", `{"messages":[{"role":"system","content":"Be"},{"role":"user","content":[{"type":"text","text":"Yo"}]}],
		"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"max_completion_tokens":2,"logprobs":true,"top_logprobs":2}`)
	require.JSONEq(t, `[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"finish_reason":"length","logprobs":{"refusal":null,"content":[
		{"token":"H","logprob":-0.25,"bytes":[72],"top_logprobs":[{"token":"H","logprob":-0.25,"bytes":[72]},{"token":"!","logprob":-3,"bytes":[33]}]},
		{"token":"i","logprob":-0.5,"bytes":[105],"top_logprobs":[{"token":"i","logprob":-0.5,"bytes":[105]},{"token":"!","logprob":-3,"bytes":[33]}]}]}}]`, member(t, got.body, "choices"))
	prompt := s.engine.text.Decode(s.engine.requests()[0].Prompt, false)
	require.Equal(t, "<s>[system]Be\n[user]Yo\n"+`[{"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 2}}}]`+"[assistant]", prompt)

	got = s.post(t, "/v1/chat/completions", `{"model":"sql","messages":[{"role":"user","content":"Yo"}],"stream":true,"n":1,"stream_options":{"include_usage":true}}`)
	events := got.events()
	require.JSONEq(t, `[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`, member(t, events[0], "choices"))
	require.JSONEq(t, `[{"index":0,"delta":{"content":"H"},"logprobs":null,"finish_reason":null}]`, member(t, events[1], "choices"))
	require.JSONEq(t, `[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]`, member(t, events[len(events)-3], "choices"))
	require.JSONEq(t, `[]`, member(t, events[len(events)-2], "choices"))
	require.Equal(t, "[DONE]", events[len(events)-1])
	require.Equal(t, -1, s.engine.requests()[1].MaxTokens)

	s = newSite(t, func(_ *Config, p *Parts) { p.Chat = nil })
	got = s.post(t, "/v1/chat/completions", `{"messages":[{"role":"user","content":"Yo"}]}`)
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, "base-model has no chat template: use /v1/completions")
}

func TestModels(t *testing.T) {
	s := newSite(t, nil)
	got := s.get(t, "/v1/models")
	require.JSONEq(t, `"base-model"`, member(t, got.body, "data", "0", "id"))
	require.JSONEq(t, `null`, member(t, got.body, "data", "0", "parent"))
	require.JSONEq(t, `"/adapters/sql"`, member(t, got.body, "data", "3", "root"))
	require.JSONEq(t, `"base-model"`, member(t, got.body, "data", "3", "parent"))
	require.Equal(t, `"sql"`, member(t, s.get(t, "/v1/models/sql").body, "id"))
	s.catalogue.Add("org/name", "/x")
	require.Equal(t, `"org/name"`, member(t, s.get(t, "/v1/models/org%2Fname").body, "id"))
	require.Equal(t, `"org/name"`, member(t, s.get(t, "/v1/adapters/org%2Fname").body, "name"))
}

// member is the JSON at a path of object members and array places.
func member(t *testing.T, body string, path ...string) string {
	t.Helper()
	raw := json.RawMessage(body)
	for _, p := range path {
		if raw[0] == '[' {
			var list []json.RawMessage
			require.NoError(t, json.Unmarshal(raw, &list))
			require.Less(t, int(p[0]-'0'), len(list), string(raw))
			raw = list[p[0]-'0']
			continue
		}
		var object map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &object), body)
		require.Contains(t, object, p)
		raw = object[p]
	}
	return string(raw)
}
