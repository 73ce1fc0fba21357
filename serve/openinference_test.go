package serve

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
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
		{"sql/generate", `{"text_input":"a","parameters":{"top_p":2}}`, "parameters.top_p is 2, outside 0 to 1", 422},
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

// The protocol's metadata: the server, the base, and adapters, whether they are in
// memory or not.
func TestOpenInferenceModels(t *testing.T) {
	s := newSite(t, nil)
	require.JSONEq(t, `{"name":"peft-serve","version":"1.2.3","extensions":["generate"]}`, s.get(t, "/v2").body)
	const texts = `"platform":"peft-serve","inputs":[{"name":"text_input","datatype":"BYTES","shape":[1]}],"outputs":[{"name":"text_output","datatype":"BYTES","shape":[1]}]}`
	require.JSONEq(t, `{"name":"base-model",`+texts, s.get(t, "/v2/models/base-model").body)
	require.JSONEq(t, `{"name":"sql",`+texts, s.get(t, "/v2/models/sql").body, "its digest is not known yet")
	require.JSONEq(t, `{"name":"sql","ready":true}`, s.get(t, "/v2/models/sql/ready").body, "it is loaded for the first request")
	require.JSONEq(t, `{"name":"base-model","ready":true}`, s.get(t, "/v2/models/base-model/ready").body)
	_, err := s.catalogue.Load(t.Context(), "sql")
	require.NoError(t, err)
	for _, path := range []string{"/v2/models/sql", "/v2/models/sql/versions/digest-of-sql"} {
		require.JSONEq(t, `{"name":"sql","versions":["digest-of-sql"],`+texts, s.get(t, path).body)
		require.JSONEq(t, `{"name":"sql","ready":true}`, s.get(t, path+"/ready").body)
	}
	for path, message := range map[string]string{
		"nope": "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", "nope/ready": "The model `nope` does not exist: GET /v1/models lists the base and its adapters.",
		"sql/versions/1": "no version 1 of model sql answers requests", "sql/versions/1/ready": "no version 1 of model sql answers requests",
		"base-model/versions/1": "no version 1 of model base-model answers requests",
	} {
		got := s.get(t, "/v2/models/"+path)
		require.Equal(t, 404, got.status, got.body)
		require.JSONEq(t, `{"error":"`+message+`"}`, got.body)
	}
	require.NoError(t, s.catalogue.with("sql", func(e *catalogue.Entry) error { e.State, e.Err = catalogue.Failed, errBroken; return nil }))
	got := s.get(t, "/v2/models/sql/ready")
	require.Equal(t, 503, got.status)
	require.JSONEq(t, `{"error":"model sql is not ready: lora_B.weight is missing"}`, got.body)
	require.Equal(t, 200, s.get(t, "/v2/models/cold/ready").status)
	s.server.requests.drain(t.Context())
	for _, path := range []string{"/v2/models/cold/ready", "/v2/models/base-model/ready", "/v2/health/ready"} {
		require.Equal(t, 503, s.get(t, path).status)
	}
	require.Equal(t, 200, s.get(t, "/v2/models/cold").status)
	none := newSite(t, func(_ *Config, p *Parts) { p.Catalogue = nil })
	require.Equal(t, 200, none.get(t, "/v2/models/base-model/ready").status)
	require.Equal(t, 404, none.get(t, "/v2/models/sql").status)
}

// The versions of a model are those that answer: the live one, and a canary.
func TestOpenInferenceVersions(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 2})
	one := s.publishVersion(t, "x", 1, 201)
	two := s.publishVersion(t, "x?canary=5", 2, 200)
	kept := s.publishVersion(t, "x?canary=0", 3, 200)
	versions := member(t, s.get(t, "/v2/models/x").body, "versions")
	require.Contains(t, versions, one)
	require.Contains(t, versions, two)
	require.NotContains(t, versions, kept)
	require.Equal(t, 200, s.get(t, "/v2/models/x/versions/"+two+"/ready").status)
	require.Equal(t, 404, s.get(t, "/v2/models/x/versions/"+kept+"/ready").status)
}

// A model is ready while its live version answers, whatever has become of a canary,
// and a version that had failed is, once it can be loaded.
func TestOpenInferenceReadyAgain(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 2})
	one := s.publishVersion(t, "x", 1, 201)
	two := s.publishVersion(t, "x?canary=50", 2, 200)
	with, _ := s.sessionsOf(t, "x", two)
	weights := filepath.Join(catalogue.VersionFolder(s.server.config.Adapters, "x", two), "adapter_model.safetensors")
	whole, err := os.ReadFile(weights)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(weights, whole[:100], 0o644))
	require.Equal(t, 422, s.post(t, "/v1/completions", `{"model":"x","prompt":"a"}`, "X-Session-Id", with).status)
	for path, want := range map[string]int{"": 200, "/versions/" + one: 200, "/versions/" + two: 503} {
		got := s.get(t, "/v2/models/x"+path+"/ready")
		require.Equal(t, want, got.status, "%s: %s", path, got.body)
	}
	require.NoError(t, os.WriteFile(weights, whole, 0o644))
	require.Equal(t, 200, s.get(t, "/v2/models/x/versions/"+two+"/ready").status)
	digest, _ := s.ask(t, "x", with)
	require.Equal(t, two, digest)
}
