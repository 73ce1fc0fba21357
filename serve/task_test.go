package serve

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
)

// A base that generates no text says so on every route that would, and what it does.
func TestGeneratingRoutesOfAnEncoder(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) {
		p.Base.Architecture = &models.Architecture{Class: "BertModel", Tasks: []models.Task{models.Encode}}
		p.Chat = nil
	})
	for path, body := range map[string]string{ // TGI and the Open Inference Protocol say 422
		"/v1/generate":                          `{"prompt":"Yo"}`,
		"/v1/generate/stream":                   `{"prompt":"Yo"}`,
		"/":                                     `{"inputs":"Yo"}`,
		"/generate":                             `{"inputs":"Yo"}`,
		"/generate_stream":                      `{"inputs":"Yo"}`,
		"/v1/completions":                       `{"prompt":"Yo","model":"sql"}`,
		"/v1/chat/completions":                  `{"messages":[{"role":"user","content":"Yo"}]}`,
		"/v2/models/base-model/generate":        `{"text_input":"Yo"}`,
		"/v2/models/base-model/generate_stream": `{"text_input":"Yo"}`,
	} {
		got := s.post(t, path, body)
		require.Contains(t, []int{400, 422}, got.status, path)
		require.Contains(t, got.body, "BertModel is not a model that generates text; it encodes texts into hidden states", path)
	}
	require.Empty(t, s.engine.requests())
	require.Equal(t, `["FEATURE_EXTRACTION"]`, member(t, s.get(t, "/v1/models").body, "data", "0", "tasks"))
	require.Equal(t, 200, s.post(t, "/tokenize", `{"inputs":"Yo"}`).status)
}
