package serve

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/runtime"
)

// OpenAI's routes sample as the model's makers recommend where a request does
// not say, TGI's are greedy.
func TestSamplingDefaults(t *testing.T) {
	defaults, err := adapters.ParseSamplingDefaults([]byte(`{"do_sample":false,"temperature":0.6,"top_k":20,"top_p":0.95,"min_p":null,"repetition_penalty":1.1,"max_new_tokens":40,"eos_token_id":[1,2]}`))
	require.NoError(t, err)
	s := newSite(t, func(c *Config, _ *Parts) { c.Sampling = defaults })
	for _, c := range []struct {
		path, body string
		want       runtime.Sampling
	}{
		{"/v1/completions", `{"prompt":"a","seed":1}`, runtime.Sampling{Temperature: .6, TopK: 20, TopP: .95, Repetition: 1.1, Seed: 1}},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"seed":1,"temperature":0,"top_k":-1,"top_p":1,"repetition_penalty":1}`, runtime.Sampling{TopP: 1, Repetition: 1, Seed: 1}},
		{"/generate", `{"inputs":"a","parameters":{"seed":1}}`, runtime.Sampling{TopP: 1, Repetition: 1, Seed: 1}},
		{"/generate", `{"inputs":"a","parameters":{"seed":1,"do_sample":true}}`, runtime.Sampling{Temperature: 1, TopP: 1, Repetition: 1, Seed: 1}},
	} {
		require.Equal(t, 200, s.post(t, c.path, c.body).status)
		requests := s.engine.requests()
		require.Equal(t, c.want, requests[len(requests)-1].Sampling, c.body)
	}
}

// What an adapter's folder recommends is sampled with under it, and no further
// than a request says otherwise; what it does not say is the base's.
func TestSamplingOfAnAdapter(t *testing.T) {
	three := 3
	s := realSiteOf(t, Config{Name: "tiny", Sampling: adapters.SamplingDefaults{TopK: &three}})
	path := filepath.Join(s.server.config.Adapters, "cold", "generation_config.json")
	layAdapter(t, "lora", filepath.Dir(path))
	require.NoError(t, os.WriteFile(path, []byte(`{"temperature":0}`), 0o644))
	answers := func(route, adapter, more string) (texts map[string]bool) {
		t.Helper()
		texts = map[string]bool{}
		for seed := range 6 {
			prompt := `"prompt":"Hey You"`
			if route == "chat/completions" {
				prompt = `"messages":[{"role":"user","content":"Hey You"}]`
			}
			got := s.post(t, "/v1/"+route, fmt.Sprintf(`{"model":"%s",%s,"max_tokens":8,"seed":%d,"ignore_eos":true%s}`, adapter, prompt, seed, more))
			require.Equal(t, http.StatusOK, got.status, got.body)
			texts[member(t, got.body, "choices")] = true
		}
		return texts
	}
	for _, route := range []string{"completions", "chat/completions"} {
		greedy := answers(route, "lora", `,"temperature":0`)
		require.Len(t, greedy, 1)
		require.Equal(t, greedy, answers(route, "cold", ""), route)
		require.Equal(t, greedy, answers(route, "lora", `,"top_k":1`), route)
		require.NotEqual(t, greedy, answers(route, "lora", ""), route)
		require.Equal(t, answers(route, "lora", ""), answers(route, "cold", `,"temperature":1`), route)
	}
	require.NoError(t, os.WriteFile(path, []byte(`{"top_p":7}`), 0o644))
	refused := s.post(t, "/v1/completions", `{"model":"cold","prompt":"Hey You"}`)
	require.Equal(t, http.StatusUnprocessableEntity, refused.status, refused.body)
	require.Contains(t, refused.body, "generation_config.json: top_p is 7")
}
