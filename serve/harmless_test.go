package serve

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
)

// What clients send for want of a model's name is the base, unless an adapter has it.
func TestModelPlaceholders(t *testing.T) {
	s := newSite(t, nil)
	for _, body := range []string{`{"model":"tgi","prompt":"Yo"}`, `{"model":"dummy","prompt":"Yo"}`, `{"model":null,"prompt":"Yo"}`, `{"model":"","prompt":"Yo"}`, `{"prompt":"Yo"}`} {
		got := s.post(t, "/v1/completions", body)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"base-model"`, member(t, got.body, "model"))
		require.Empty(t, got.header.Get("X-Adapter-Id"))
	}
	require.Equal(t, 404, s.post(t, "/v1/completions", `{"model":"tg","prompt":"Yo"}`).status)
	require.Equal(t, 400, s.post(t, "/v1/completions", `{"model":1,"prompt":"Yo"}`).status)
	s.catalogue.Add("tgi", "/adapters/tgi")
	got := s.post(t, "/v1/completions", `{"model":"tgi","prompt":"Yo"}`)
	require.Equal(t, "tgi", got.header.Get("X-Adapter-Id"))
	got = s.post(t, "/v1/completions", `{"model":"dummy","prompt":"Yo"}`, "X-Adapter", "sql")
	require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
}

// number is member, of a number.
func number(t *testing.T, body string, path ...string) (n float64) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(member(t, body, path...)), &n), body)
	return n
}

// A seed is any whole number.
func TestSeeds(t *testing.T) {
	s := newSite(t, nil)
	for written, want := range map[string]uint64{
		"7": 7, "7.0": 7, "1e3": 1000, "9223372036854775808": 1 << 63, "18446744073709551615": math.MaxUint64,
		"18446744073709551616": 0, "18446744073709551623": 7, "-1": math.MaxUint64, "340282366920938463463374607431768211455": math.MaxUint64,
	} {
		for path, body := range map[string]string{
			"/v1/completions":                `{"prompt":"a","seed":` + written + `}`,
			"/generate":                      `{"inputs":"a","parameters":{"seed":` + written + `}}`,
			"/v2/models/base-model/generate": `{"text_input":"a","parameters":{"seed":` + written + `}}`,
		} {
			got := s.post(t, path, body)
			require.Equal(t, 200, got.status, got.body)
			requests := s.engine.requests()
			require.Equal(t, want, requests[len(requests)-1].Sampling.Seed, "%s %s", path, written)
		}
	}
	for _, written := range []string{"7.5", `"7"`, "1e30", strings.Repeat("9", maxSeedDigits+1)} {
		require.Equal(t, 400, s.post(t, "/v1/completions", `{"prompt":"a","seed":`+written+`}`).status, written)
	}
}

// top_p of 0 is the likeliest token, and not the engine's 0, which is all.
func TestTopPOfZero(t *testing.T) {
	s := newSite(t, nil)
	for path, body := range map[string]string{
		"/v1/completions":                `{"prompt":"a","top_p":0}`,
		"/v1/generate":                   `{"inputs":"a","parameters":{"top_p":0}}`,
		"/v2/models/base-model/generate": `{"text_input":"a","parameters":{"top_p":0.0}}`,
	} {
		got := s.post(t, path, body)
		require.Equal(t, 200, got.status, got.body)
		requests := s.engine.requests()
		p := requests[len(requests)-1].Sampling.TopP
		require.True(t, p > 0 && p < 1e-30, p)
	}
	require.Equal(t, 400, s.post(t, "/v1/completions", `{"prompt":"a","top_p":-0.1}`).status)
}

// Usage on every event of a stream, for those who count as it goes.
func TestContinuousUsage(t *testing.T) {
	s := newSite(t, nil)
	for path, body := range map[string]string{
		"/v1/completions":      `{"prompt":"Yo","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`,
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"Yo"}],"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`,
	} {
		events := s.post(t, path, body).events()
		last := 0.0
		for _, e := range events[:len(events)-1] {
			prompt, completion := number(t, e, "usage", "prompt_tokens"), number(t, e, "usage", "completion_tokens")
			require.Positive(t, prompt, e)
			require.GreaterOrEqual(t, completion, last, e)
			require.Equal(t, prompt+completion, number(t, e, "usage", "total_tokens"))
			last = completion
		}
		require.Equal(t, 9.0, last)
		without := s.post(t, path, strings.Replace(body, `"continuous_usage_stats":true`, `"continuous_usage_stats":false`, 1)).events()
		require.NotContains(t, without[0], "usage")
	}
}

// A field that nothing reads is refused by name, but for those that are known to be
// sent whatever is asked; and with --ignore-unknown-fields the answer names them.
func TestUnknownFields(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/v1/completions", `{"prompt":"a","tempratur":1}`)
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, `tempratur is not a field of this request`)
	require.Equal(t, `"unknown_parameter"`, member(t, got.body, "error", "code"))
	require.Equal(t, `"unsupported_parameter"`, member(t, s.post(t, "/v1/completions", `{"prompt":"a","use_beam_search":true}`).body, "error", "code"))
	for name := range passedOver {
		for path, body := range map[string]string{
			"/v1/completions": `{"prompt":"a","` + name + `":{}}`, "/generate": `{"inputs":"a","` + name + `":1}`,
			"/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}],"` + name + `":null}`,
		} {
			got := s.post(t, path, body)
			require.Equal(t, 200, got.status, got.body)
			require.Equal(t, `"`+name+`"`, got.header.Get("X-Ignored-Fields"))
		}
		require.Equal(t, 400, s.post(t, "/v1/completions", `{"prompt":"a","stream":true,"stream_options":{"`+name+`":1}}`).status, "it is known at the top alone")
		require.Equal(t, 400, s.post(t, "/v1/load_lora_adapter", `{"lora_name":"x","lora_path":"x","`+name+`":1}`).status, "what changes adapters is strict")
	}

	reads := map[string]string{ // by the routes that read and do not generate
		"/v1/embeddings": `"input":"a"`, "/pooling": `"input":"a"`, "/embed": `"inputs":"a"`, "/embed_all": `"inputs":"a"`,
		"/similarity": `"inputs":{"source_sentence":"a","sentences":["b"]}`, "/v1/score": `"text_1":"a","text_2":"b"`,
		"/v1/rerank": `"query":"a","documents":["b"]`, "/rerank": `"query":"a","texts":["b"]`,
		"/v1/classify": `"input":"a","model":"sql"`, "/classify": `"inputs":"a","model":"sql"`, "/predict": `"inputs":"a","model":"sql"`,
		"/tokenize": `"prompt":"a"`, "/detokenize": `"tokens":[1]`,
	}
	for path, body := range reads {
		require.GreaterOrEqual(t, s.post(t, path, `{`+body+`,"foo":1}`).status, 400, path)
		require.Equal(t, `"session_id"`, s.post(t, path, `{`+body+`,"session_id":1}`).header.Get("X-Ignored-Fields"), path)
	}

	s = newSite(t, func(c *Config, _ *Parts) { c.IgnoreUnknownFields = true })
	for path, body := range reads {
		got := s.post(t, path, `{`+body+`,"foo":1}`)
		require.Equal(t, `"foo"`, got.header.Get("X-Ignored-Fields"), "%s: %s", path, got.body)
		require.NotContains(t, got.body, "not a field", path)
	}
	for path, body := range map[string]string{
		"/v1/completions":      `{"prompt":"a","foo":1,"stream":true,"stream_options":{"bar\n":2}}`,
		"/generate":            `{"inputs":"a","foo":1,"parameters":{"bar\n":2}}`,
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}],"foo":1,"stream":true,"stream_options":{"bar\n":2}}`,
	} {
		got := s.post(t, path, body)
		require.Equal(t, 200, got.status, got.body)
		named := got.header.Get("X-Ignored-Fields")
		require.Contains(t, named, `"foo", "`)
		require.Contains(t, named, `bar\n"`)
	}
	got = s.post(t, "/v1/chat/completions", `{"messages":[{"role":"user","content":"a","mood":1}]}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"messages[0].mood"`, got.header.Get("X-Ignored-Fields"))
	many := `{"prompt":"a"`
	for i := range 40 {
		many += `,"` + strings.Repeat("x", 100+i) + `":1`
	}
	got = s.post(t, "/v1/completions", many+"}")
	require.Equal(t, 200, got.status, got.body)
	require.Less(t, len(got.header.Get("X-Ignored-Fields")), 2000)
	require.Equal(t, 400, s.post(t, "/v1/completions", `{"prompt":"a","use_beam_search":true}`).status, "what is known and not implemented is refused")
	require.Equal(t, 400, s.post(t, "/v1/load_lora_adapter", `{"lora_name":"x","lora_path":"x","foo":1}`).status)
}

// What other servers note in turns comes back with them: it is passed over and named,
// wherever it stands in a turn, and nowhere else.
func TestFieldsOfTurnsThatArePassedOver(t *testing.T) {
	s := withTemplate(t, `{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}{% endfor %}`)
	for name := range passedOverInTurns {
		field := `"` + name + `":{"type":"x"}`
		got := s.post(t, chatRoute, `{"messages":[{"role":"user","content":[{"type":"text","text":"a",`+field+`}]},
			{"role":"assistant",`+field+`,"tool_calls":[{"id":"1","type":"function",`+field+`,"function":{"name":"f","arguments":"{}",`+field+`}}]}]}`)
		require.Equal(t, 200, got.status, got.body)
		for _, at := range []string{"messages[0].content[0].", "messages[1].", "messages[1].tool_calls[0].", "messages[1].tool_calls[0].function."} {
			require.Contains(t, got.header.Get(ignoredHeader), `"`+at+name+`"`)
		}
		got = s.post(t, responsesRoute, `{"input":[{"role":"user",`+field+`,"content":[{"type":"input_text","text":"a",`+field+`}]}]}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"input[0].`+name+`", "input[0].content[0].`+name+`"`, got.header.Get(ignoredHeader))
		require.Equal(t, 400, s.post(t, chatRoute, `{"messages":[{"role":"user","content":"a"}],`+field+`}`).status, "it is known in turns alone")
	}
	for name := range passedOver {
		require.Equal(t, 400, s.post(t, chatRoute, `{"messages":[{"role":"user","content":"a","`+name+`":1}]}`).status, "it is known at the top alone")
		require.Equal(t, 400, s.post(t, responsesRoute, `{"input":[{"role":"user","content":"a","`+name+`":1}]}`).status)
	}
}

// An effort goes to the chat template, or is passed over by name where that knows none.
func TestEffortThatNobodyReads(t *testing.T) {
	s := withTemplate(t, `{% for m in messages %}{{ m.content }}{% endfor %}`)
	for _, effort := range []string{"none", "high"} {
		got := s.post(t, chatRoute, `{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"`+effort+`"}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"reasoning_effort"`, got.header.Get(ignoredHeader))
		got = s.post(t, responsesRoute, `{"input":"a","reasoning":{"effort":"`+effort+`","summary":"auto"}}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"reasoning.effort"`, got.header.Get(ignoredHeader))
		require.Equal(t, `"`+effort+`"`, member(t, got.body, "reasoning", "effort"))
	}
	require.Empty(t, s.post(t, responsesRoute, `{"input":"a","reasoning":{"effort":null}}`).header.Get(ignoredHeader))

	s = withTemplate(t, `{{ reasoning_effort }}{{ messages[0].content }}`)
	got := s.post(t, responsesRoute, `{"input":"a","reasoning":{"effort":"low"}}`)
	require.Equal(t, 200, got.status, got.body)
	require.Empty(t, got.header.Get(ignoredHeader))
	require.Equal(t, "lowa", s.server.text.Decode(s.engine.requests()[0].Prompt, false))
}

// Values that say what happens anyway are taken, and an empty stop string is none.
func TestValuesThatSayNothing(t *testing.T) {
	s := newSite(t, nil)
	for path, start := range map[string]string{"/v1/completions": `"prompt":"Yo"`, chatRoute: `"messages":[{"role":"user","content":"Yo"}]`} {
		got := s.post(t, path, `{`+start+`,"stop":"","best_of":1,"return_tokens_as_token_ids":false,"include_stop_str_in_output":false}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, 9.0, number(t, got.body, "usage", "completion_tokens"))
		for _, field := range []string{`"best_of":2`, `"return_tokens_as_token_ids":true`, `"stop":[""]`} {
			require.Equal(t, 400, s.post(t, path, `{`+start+`,`+field+`}`).status, field)
		}
	}
	require.Equal(t, 200, s.post(t, responsesRoute, `{"input":"Yo","stop":""}`).status)
}

// What ends an answer stays in it where the request says so.
func TestStopStaysInTheAnswer(t *testing.T) {
	s := realSite(t)
	ask := func(more string) answer {
		return s.post(t, "/v1/completions", `{"prompt":"Hello","max_tokens":12,"temperature":0,"ignore_eos":true,"return_token_ids":true`+more+`}`)
	}
	whole := ask("")
	require.Equal(t, 200, whole.status, whole.body)
	text := unquoted(t, member(t, whole.body, "choices", "0", "text"))
	stop := text[len(text)/2:][:2]
	quotedStop := string(quoted(stop))
	cut, _, _ := strings.Cut(text, stop)
	for more, want := range map[string]string{"": cut, `,"include_stop_str_in_output":true`: cut + stop} {
		got := ask(`,"stop":` + quotedStop + more)
		require.Equal(t, want, unquoted(t, member(t, got.body, "choices", "0", "text")), more)
		require.Equal(t, `"stop"`, member(t, got.body, "choices", "0", "finish_reason"))
	}
	var ids []int
	require.NoError(t, json.Unmarshal([]byte(member(t, whole.body, "choices", "0", "token_ids")), &ids))
	first := `,"stop_token_ids":[` + strconv.Itoa(ids[0]) + `]`
	require.Empty(t, unquoted(t, member(t, ask(first).body, "choices", "0", "text")))
	kept := unquoted(t, member(t, ask(first+`,"include_stop_str_in_output":true`).body, "choices", "0", "text"))
	require.NotEmpty(t, kept)
	require.True(t, strings.HasPrefix(text, kept), "%q begins %q", kept, text)
}

// The documents list what is passed over.
func TestPassedOverIsListed(t *testing.T) {
	page, err := os.ReadFile("../docs/serving.md")
	require.NoError(t, err)
	for _, listed := range []map[string]string{passedOver, passedOverInTurns} {
		for name, who := range listed {
			require.Contains(t, string(page), "| `"+name+"` | "+who+" |")
		}
	}
}

// What the context does not hold has the code that clients know.
func TestContextLengthExceeded(t *testing.T) {
	s := newSite(t, nil)
	long := strings.Repeat("a", 200)
	for _, c := range []struct{ path, body string }{
		{"/v1/completions", `{"prompt":"` + long + `"}`},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", 100000) + `"}`},
		{"/v1/completions", `{"prompt":"a","max_tokens":500}`},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + long + `"}]}`},
	} {
		got := s.post(t, c.path, c.body)
		require.Equal(t, 400, got.status, got.body)
		require.Equal(t, `"context_length_exceeded"`, member(t, got.body, "error", "code"))
		require.Contains(t, got.body, "this model's maximum context length is")
	}
}

// A relative path is one of the adapters' folder.
func TestRelativeAdapterPath(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "mine"), 0o755))
	s := newSite(t, func(c *Config, _ *Parts) { c.Adapters = folder })
	got := s.post(t, "/v1/load_lora_adapter", `{"lora_name":"mine","lora_path":"mine"}`)
	require.Equal(t, 200, got.status, got.body)
	e, err := s.catalogue.Lookup("mine")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(folder, "mine"), e.URI)
	require.Equal(t, 404, s.post(t, "/v1/load_lora_adapter", `{"lora_name":"none","lora_path":"none"}`).status)
	for _, path := range []string{"../mine", "mine/../../x", "/etc"} {
		require.Equal(t, 400, s.post(t, "/v1/load_lora_adapter", `{"lora_name":"other","lora_path":"`+path+`"}`).status, path)
	}
}

// A plain tar is an archive like those that are compressed.
func TestUnpackTar(t *testing.T) {
	plain := tarOf(t, entry{name: "adapter_config.json", body: "{}"}, entry{name: "a/b.txt", body: "x"})
	dir := t.TempDir()
	require.NoError(t, (&unpacking{dir: dir, limits: archiveLimits{Bytes: 1 << 20, Files: 10, Depth: 4}}).unpack(bytes.NewReader(plain)))
	text, err := os.ReadFile(filepath.Join(dir, "a/b.txt"))
	require.NoError(t, err)
	require.Equal(t, "x", string(text))
	for name, change := range map[string]func([]byte) []byte{
		"another checksum": func(b []byte) []byte { b[0]++; return b },
		"shorter":          func(b []byte) []byte { return b[:100] },
		"empty":            func([]byte) []byte { return nil },
	} {
		err := (&unpacking{dir: t.TempDir(), limits: archiveLimits{Bytes: 1 << 20, Files: 10, Depth: 4}}).unpack(bytes.NewReader(change(bytes.Clone(plain))))
		require.ErrorContains(t, err, "neither .tar.zst nor .tar.gz nor .tar", name)
	}
	var old bytes.Buffer // of 1979: no magic
	w := tar.NewWriter(&old)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "x", Size: 1, Mode: 0o644, Format: tar.FormatGNU}))
	_, err = w.Write([]byte("y"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.True(t, isTar(old.Bytes()))
}

// The choices of a prompt share its prefill: those after the first compute no more
// than what is no whole block.
func TestChoicesShareAPrefill(t *testing.T) {
	s := realSite(t)
	prompt := make([]int, 3*kernels.BlockLen+2)
	for i := range prompt {
		prompt[i] = 5 + i%7
	}
	other := append([]int{9}, prompt...)
	body, err := json.Marshal(map[string]any{"prompt": [][]int{prompt, other}, "n": 4, "max_tokens": 2, "seed": 1})
	require.NoError(t, err)
	before := s.server.engine.Snapshot()
	got := s.post(t, "/v1/completions", string(body))
	require.Equal(t, 200, got.status, got.body)
	after := s.server.engine.Snapshot()
	computed := after.PromptTokens - before.PromptTokens - (after.CachedTokens - before.CachedTokens)
	require.EqualValues(t, len(prompt)+len(other)+3*2+3*3, computed)

	// The answers are those that each would have had alone.
	for i := range 4 {
		alone, err := json.Marshal(map[string]any{"prompt": prompt, "max_tokens": 2, "seed": 1 + i})
		require.NoError(t, err)
		require.Equal(t, member(t, s.post(t, "/v1/completions", string(alone)).body, "choices", "0", "text"), member(t, got.body, "choices", string(rune('0'+i)), "text"))
	}
}

// What other servers' clients and probes ask.
func TestOtherServersRoutes(t *testing.T) {
	s := newSite(t, nil)
	require.JSONEq(t, `{}`, s.get(t, "/ping").body)
	require.JSONEq(t, `{}`, s.post(t, "/ping", "").body)
	require.JSONEq(t, `{"server_load":2}`, s.get(t, "/load").body)
	require.Equal(t, s.get(t, "/v1/models").body, s.get(t, "/models").body)
	require.Equal(t, s.get(t, "/v1/models/sql").body, s.get(t, "/models/sql").body)
	require.Equal(t, 404, s.get(t, "/models/none").status)
	got := s.post(t, "/completions", `{"prompt":"Yo"}`)
	require.Equal(t, `"Hi there."`, member(t, got.body, "choices", "0", "text"))
	got = s.post(t, "/chat/completions", `{"messages":[{"role":"user","content":"Yo"}],"nope":1}`)
	require.Equal(t, 400, got.status)
	require.Equal(t, `"nope"`, member(t, got.body, "error", "param"))

	long, short := s.post(t, embeddingsRoute, `{"input":"Yo","nope":1}`), s.post(t, "/embeddings", `{"input":"Yo","nope":1}`)
	require.Equal(t, []any{400, long.body}, []any{short.status, short.body})

	info := s.get(t, "/tokenizer_info").body
	require.Equal(t, `"<s>"`, member(t, info, "bos_token"))
	require.Contains(t, member(t, info, "chat_template"), "messages")
	require.Equal(t, 128.0, number(t, info, "model_max_length"))

	// A conversation's tokens are those that a chat begins with.
	const body = `"messages":[{"role":"user","content":"Yo"}]`
	got = s.post(t, chatRoute, `{`+body+`}`)
	require.Equal(t, 200, got.status, got.body)
	requests := s.engine.requests()
	want, err := json.Marshal(requests[len(requests)-1].Prompt)
	require.NoError(t, err)
	got = s.post(t, "/tokenize", `{"return_token_strs":true,`+body+`}`)
	require.Equal(t, 200, got.status, got.body)
	require.JSONEq(t, string(want), member(t, got.body, "tokens"))
	require.Contains(t, member(t, got.body, "token_strs"), `"Y"`)
	require.Equal(t, 422, s.post(t, "/tokenize", `{"prompt":"a",`+body+`}`).status)
	for name, field := range map[string]string{
		"tools": `"tools":[]`, "add_generation_prompt": `"add_generation_prompt":true`, "continue_final_message": `"continue_final_message":false`,
		"chat_template_kwargs": `"chat_template_kwargs":{}`,
	} {
		for _, text := range []string{`"prompt":"a"`, `"inputs":"a"`} {
			got := s.post(t, "/tokenize", `{`+text+`,`+field+`}`)
			require.Equal(t, 422, got.status, got.body)
			require.Contains(t, got.body, name+" goes with messages")
		}
	}
	require.Contains(t, s.post(t, "/tokenize", `{"inputs":"a","return_token_strs":true}`).body, "return_token_strs goes with prompt and with messages")
	require.Equal(t, 422, s.post(t, "/tokenize", `{"messages":[{"role":"nobody","content":"a"}]}`).status)
	require.Equal(t, "null", member(t, s.post(t, "/tokenize", `{"prompt":"a"}`).body, "token_strs"))
}

// A list of models is one to choose from: what could not be loaded is in
// /v1/adapters, with the reason.
func TestModelsLeaveOutWhatFailed(t *testing.T) {
	s := newSite(t, nil)
	s.catalogue.entries["cold"].State = catalogue.Failed
	require.NotContains(t, s.get(t, "/v1/models").body, `"cold"`)
	require.Contains(t, s.get(t, "/v1/adapters").body, `"cold"`)
}
