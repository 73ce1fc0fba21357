package serve

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

func TestOpenInference(t *testing.T) {
	s := newSite(t, nil)
	require.JSONEq(t, `{"live":true}`, s.get(t, "/v2/health/live").body)
	require.JSONEq(t, `{"ready":true}`, s.get(t, "/v2/health/ready").body)

	got := s.post(t, "/v2/models/base-model/generate", `{"text_input":"Yo"}`)
	require.JSONEq(t, `{"model_name":"base-model","text_output":"Hi there."}`, got.body)
	got = s.post(t, "/v2/models/sql/generate", `{"id":"7","text_input":"Yo","parameters":{"max_tokens":2,"details":true,"temperature":0.5,"top_p":0.9,"seed":4}}`)
	require.JSONEq(t, `{"id":"7","model_name":"sql","model_version":"digest-of-sql","text_output":"Hi","details":{"finish_reason":"length",
		"logprobs":[{"id":43,"text":"H","logprob":-0.25,"special":false},{"id":75,"text":"i","logprob":-0.5,"special":false}]}}`, got.body)
	require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
	require.Equal(t, "3", got.header.Get("X-Queue-Time"))
	r := s.engine.requests()
	require.Equal(t, runtime.Sampling{TopP: 1, Repetition: 1, Seed: r[0].Sampling.Seed}, r[0].Sampling, "greedy unless asked otherwise")
	require.Equal(t, 20, r[0].MaxTokens)
	require.Equal(t, runtime.Sampling{Temperature: .5, TopP: .9, Repetition: 1, Seed: 4}, r[1].Sampling)

	got = s.post(t, "/v2/models/sql/generate", `{"text_input":"Yo","parameters":{"stop":["the"]}}`)
	require.Equal(t, `"Hi "`, member(t, got.body, "text_output"))
}

func TestOpenInferenceStream(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/v2/models/sql/generate_stream", `{"text_input":"Yo","parameters":{"max_tokens":2,"details":true}}`)
	require.Equal(t, []string{
		`{"model_name":"sql","model_version":"digest-of-sql","text_output":"H","done":false,"details":{"finish_reason":null,"token":{"id":43,"text":"H","logprob":-0.25,"special":false}}}`,
		`{"model_name":"sql","model_version":"digest-of-sql","text_output":"i","done":true,"details":{"finish_reason":"length","token":{"id":75,"text":"i","logprob":-0.5,"special":false}}}`,
	}, got.events())
	require.Equal(t, "digest-of-sql", got.header.Get("X-Adapter-Digest"))
}

func TestOpenInferenceRefusals(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct {
		path, body, message string
		status              int
	}{
		{"nope/generate", `{"text_input":"a"}`, "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", 404},
		{"sql/generate", `{}`, "text_input is missing: give the text to continue", 422},
		{"sql/generate", `{"text_input":"a","parameters":{"max_tokens":-1}}`, "parameters.max_tokens is -1, below 0", 422},
		{"sql/generate", `{"text_input":"a","parameters":{"top_p":2}}`, "parameters.top_p is 2, outside (0, 1]", 422},
		{"sql/generate", `{"text_input":"a","parameters":{"best_of":2}}`, "parameters.best_of is not implemented: leave it out or send 1", 422},
		{"sql/generate_stream?adapter=cold", `{"text_input":"a"}`, `the query parameter adapter names adapter "cold" and the path names "sql": name one`, 422},
	} {
		got := s.post(t, "/v2/models/"+c.path, c.body)
		require.Equal(t, c.status, got.status, got.body)
		var body struct{ Error string }
		require.NoError(t, json.Unmarshal([]byte(got.body), &body))
		require.Equal(t, c.message, body.Error)
	}
	s.catalogue.refuse = errBroken
	require.Equal(t, 422, s.post(t, "/v2/models/sql/generate", `{"text_input":"a"}`).status)
}
