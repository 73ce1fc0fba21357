package serve

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

func TestGenerate(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/generate", "/v1/generate"} {
		got := s.post(t, path+"?adapter=sql", `{"inputs":"Yo","parameters":{"details":true,"decoder_input_details":true,"max_new_tokens":2,"seed":3}}`)
		require.JSONEq(t, `{"generated_text":"Hi","details":{"finish_reason":"length","prompt_tokens":3,"generated_tokens":2,"seed":null,
			"prefill":[{"id":0,"text":"<s>","logprob":null},{"id":60,"text":"Y","logprob":-0.25},{"id":81,"text":"o","logprob":-0.5}],
			"tokens":[{"id":43,"text":"H","logprob":-0.25,"special":false},{"id":75,"text":"i","logprob":-0.5,"special":false}]}}`, got.body)
		require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
		require.Equal(t, "3", got.header.Get("X-Queue-Time"))
	}
	require.Zero(t, s.engine.requests()[0].Sampling.Temperature, "greedy unless asked otherwise")

	got := s.post(t, "/generate", `{"inputs":"Yo","parameters":{"temperature":0.5,"top_k":3,"return_full_text":true,"seed":3,"details":true}}`)
	require.Equal(t, `"YoHi there."`, member(t, got.body, "generated_text"))
	require.Equal(t, `3`, member(t, got.body, "details", "seed"))
	r := s.engine.requests()[2]
	require.Equal(t, runtime.Sampling{Temperature: .5, TopK: 3, TopP: 1, Repetition: 1, Seed: 3}, r.Sampling)
	require.Equal(t, 100, r.MaxTokens)
	require.JSONEq(t, `{"generated_text":"Hi there."}`, s.post(t, "/generate", `{"inputs":"Yo","parameters":null}`).body)
}

// TGI's own clients post to the root and take a list from it.
func TestGenerateAtTheRoot(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/", `{"inputs":"Yo","stream":false,"parameters":{"adapter_id":"sql","max_new_tokens":2,"details":true,"best_of":null,"stop":[],"watermark":false}}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.JSONEq(t, `[{"generated_text":"Hi","details":{"finish_reason":"length","prompt_tokens":3,"generated_tokens":2,"seed":null,"prefill":[],
		"tokens":[{"id":43,"text":"H","logprob":-0.25,"special":false},{"id":75,"text":"i","logprob":-0.5,"special":false}]}}]`, got.body)
	require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
	require.JSONEq(t, `[{"generated_text":"Hi there."}]`, s.post(t, "/", `{"inputs":"Yo"}`).body)

	events := s.post(t, "/", `{"inputs":"Yo","stream":true,"parameters":{"max_new_tokens":2}}`).events()
	require.Len(t, events, 2)
	require.Equal(t, `"Hi"`, member(t, events[1], "generated_text"))

	got = s.post(t, "/", `{"parameters":{}}`)
	require.Equal(t, http.StatusUnprocessableEntity, got.status)
	require.JSONEq(t, `{"error":"inputs is missing: give the text to continue","error_type":"validation"}`, got.body)
	require.Equal(t, http.StatusMethodNotAllowed, s.send(t, http.MethodDelete, "/", "").status)
}

// TGI leaves the stop string in the text.
func TestGenerateStop(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/generate", `{"inputs":"Yo","parameters":{"stop":["the"],"details":true}}`)
	require.Equal(t, `"Hi the"`, member(t, got.body, "generated_text"))
	require.Equal(t, `"stop_sequence"`, member(t, got.body, "details", "finish_reason"))
	got = s.post(t, "/v1/completions", `{"prompt":"Yo","stop":"the"}`)
	require.Equal(t, `"Hi "`, member(t, got.body, "choices", "0", "text"))
}

func TestGenerateStream(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/generate_stream", "/v1/generate/stream", "/generate"} {
		got := s.post(t, path, `{"inputs":"Yo","stream":true,"parameters":{"max_new_tokens":2,"details":true}}`)
		events := got.events()
		require.Equal(t, http.StatusOK, got.status)
		require.Len(t, events, 2, "no [DONE] here")
		require.Equal(t, `null`, member(t, events[0], "generated_text"))
		require.Equal(t, `null`, member(t, events[0], "details"))
		require.Equal(t, `"H"`, member(t, events[0], "token", "text"))
		require.Equal(t, `"Hi"`, member(t, events[1], "generated_text"))
		require.JSONEq(t, `{"finish_reason":"length","prompt_tokens":3,"generated_tokens":2,"seed":null}`, member(t, events[1], "details"))
	}
}

func TestTokenize(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/tokenize", `{"inputs":"Yo","parameters":{}}`)
	require.Equal(t, `"<s>"`, member(t, got.body, "0", "text"))
	require.JSONEq(t, `1`, member(t, got.body, "2", "start"))
	require.JSONEq(t, `2`, member(t, got.body, "2", "stop"))
	got = s.post(t, "/tokenize", `{"prompt":"Yo","add_special_tokens":false}`)
	require.Equal(t, `2`, member(t, got.body, "count"))
	tokens := member(t, got.body, "tokens")
	require.JSONEq(t, `{"prompt":"Yo"}`, s.post(t, "/detokenize", `{"tokens":`+tokens+`}`).body)
}

// The adapter may be named in three places, which must agree.
func TestAdapterSelection(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct {
		path, body, header, adapter string
		status                      int
	}{
		{"/v1/generate?adapter=sql", `{"inputs":"a"}`, "", "sql", 200},
		{"/v1/generate", `{"inputs":"a","parameters":{"adapter_id":"sql"}}`, "", "sql", 200},
		{"/v1/generate", `{"inputs":"a"}`, "sql", "sql", 200},
		{"/v1/generate?adapter=sql", `{"inputs":"a","parameters":{"adapter_id":"sql"}}`, "sql", "sql", 200},
		{"/v1/generate?adapter=sql", `{"inputs":"a","parameters":{"adapter_id":"cold"}}`, "", "", 400},
		{"/v1/generate?adapter=sql", `{"inputs":"a"}`, "cold", "", 400},
		{"/v1/generate?adapter=sql&adapter=cold", `{"inputs":"a"}`, "", "", 400},
		{"/v1/generate?adapter=base-model", `{"inputs":"a"}`, "sql", "", 400},
		{"/v1/generate?adapter=base-model", `{"inputs":"a"}`, "", "", 200},
		{"/v1/generate?adapter=nope", `{"inputs":"a"}`, "", "", 404},
		{"/v1/completions", `{"prompt":"a","model":"base-model"}`, "sql", "sql", 200},
		{"/v1/completions", `{"prompt":"a","model":"cold"}`, "sql", "", 400},
		{"/generate?adapter=sql", `{"inputs":"a"}`, "cold", "", 422},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"X-Adapter", c.header}
		}
		got := s.post(t, c.path, c.body, headers...)
		require.Equal(t, c.status, got.status, "%v %s", c, got.body)
		require.Equal(t, c.adapter, got.header.Get("X-Adapter-Id"))
		if c.status == 400 {
			require.Contains(t, got.body, "name one")
		}
	}
	s.catalogue.Add("base-model", "/x")
	got := s.post(t, "/v1/completions", `{"model":"base-model","prompt":"a"}`)
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, "is the name of the base and of an adapter")
	got = s.post(t, "/v1/completions", `{"prompt":"a"}`)
	require.Equal(t, 200, got.status, "what names nothing is the base's: %s", got.body)
	require.Empty(t, got.header.Get("X-Adapter-Id"))
}
