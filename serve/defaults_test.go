package serve

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

// OpenAI's routes sample as the model's makers recommend where a request does
// not say, TGI's are greedy.
func TestSamplingDefaults(t *testing.T) {
	defaults, err := ParseSamplingDefaults([]byte(`{"do_sample":false,"temperature":0.6,"top_k":20,"top_p":0.95,"min_p":null,"repetition_penalty":1.1,"max_new_tokens":40,"eos_token_id":[1,2]}`))
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
	_, err = ParseSamplingDefaults([]byte(`{"temperature":-1,"top_p":0,"top_k":-2,"min_p":2,"repetition_penalty":0}`))
	for _, name := range []string{"temperature is -1", "top_p is 0", "top_k is -2", "min_p is 2", "repetition_penalty is 0"} {
		require.ErrorContains(t, err, name)
	}
	_, err = ParseSamplingDefaults([]byte(`{"temperature":"hot"}`))
	require.ErrorContains(t, err, "temperature")
}
