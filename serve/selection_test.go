package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// swapped is the test's tokenizer with the ids of two letters exchanged.
func swapped(t *testing.T, a, b string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/tokenizer.json")
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(text, &file))
	vocab, ok := file["model"].(map[string]any)["vocab"].(map[string]any)
	require.True(t, ok)
	require.NotEqual(t, vocab[a], vocab[b])
	vocab[a], vocab[b] = vocab[b], vocab[a]
	text, err = json.Marshal(file)
	require.NoError(t, err)
	return string(text)
}

// An adapter with a tokenizer of its own is written to and read with that one,
// by every route.
func TestAdapterTokenizer(t *testing.T) {
	s := realSite(t)
	dir := s.server.config.Adapters
	layAdapter(t, "lora", filepath.Join(dir, "own"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own", "tokenizer.json"), []byte(swapped(t, "H", "Y")), 0o644))
	swap := strings.NewReplacer("H", "Y", "Y", "H").Replace
	ask := func(path, body string, keys ...string) string {
		t.Helper()
		got := s.post(t, path, body)
		require.Equal(t, http.StatusOK, got.status, got.body)
		return member(t, got.body, keys...)
	}
	const prompt = "Hey You, Hi"
	for _, c := range []struct {
		path, body string
		texts      [][]string // members that are text
		same       [][]string // members that are the same
	}{
		{"/tokenize", `{"model":"%s","prompt":"%s"}`, nil, [][]string{{"tokens"}}},
		{"/v1/completions", `{"model":"%s","prompt":"%s","echo":true,"max_tokens":12,"temperature":0,"logprobs":1}`,
			[][]string{{"choices", "0", "text"}, {"choices", "0", "logprobs", "tokens"}}, [][]string{{"choices", "0", "logprobs", "token_logprobs"}}},
		{"/v1/chat/completions", `{"model":"%s","messages":[{"role":"user","content":"%s"}],"max_tokens":12,"temperature":0}`,
			[][]string{{"choices", "0", "message", "content"}}, [][]string{{"usage", "prompt_tokens"}}},
		{"/generate", `{"parameters":{"adapter_id":"%s","max_new_tokens":12,"details":true},"inputs":"%s"}`,
			[][]string{{"generated_text"}}, nil},
	} {
		body := func(adapter, prompt string) string { return fmt.Sprintf(c.body, adapter, prompt) }
		for _, keys := range c.texts {
			want := ask(c.path, body("lora", prompt), keys...)
			require.Equal(t, swap(want), ask(c.path, body("own", swap(prompt)), keys...), c.path)
		}
		for _, keys := range c.same {
			want := ask(c.path, body("lora", prompt), keys...)
			require.Equal(t, want, ask(c.path, body("own", swap(prompt)), keys...), c.path)
		}
	}
	tokens := ask("/tokenize", `{"model":"own","prompt":"Hey You","add_special_tokens":false}`, "tokens")
	require.Equal(t, `"Hey You"`, ask("/detokenize", `{"model":"own","tokens":`+tokens+`}`, "prompt"))
	require.Equal(t, `"Yey Hou"`, ask("/detokenize", `{"model":"lora","tokens":`+tokens+`}`, "prompt"))
	// stop strings are those of the text
	whole := ask("/v1/completions", `{"model":"own","prompt":"`+prompt+`","max_tokens":12,"temperature":0}`, "choices", "0", "text")
	var text string
	require.NoError(t, json.Unmarshal([]byte(whole), &text))
	letter := string([]rune(text)[1:2])
	stop, err := json.Marshal(letter)
	require.NoError(t, err)
	cut := ask("/v1/completions", fmt.Sprintf(`{"model":"own","prompt":%q,"max_tokens":12,"temperature":0,"stop":[%s]}`, prompt, stop), "choices", "0", "text")
	var before string
	require.NoError(t, json.Unmarshal([]byte(cut), &before))
	want, _, ok := strings.Cut(text, letter)
	require.True(t, ok)
	require.Equal(t, want, before)
}

// An adapter's end token stops its answers and no other's.
func TestAdapterEndTokens(t *testing.T) {
	s := realSite(t)
	dir := s.server.config.Adapters
	const body = `{"model":"%s","prompt":"Hey You","max_tokens":8,"temperature":0,"logprobs":0}`
	ids := func(adapter string) (tokens []int32, reason string) {
		t.Helper()
		got := s.post(t, "/v1/generate?adapter="+adapter, `{"inputs":"Hey You","parameters":{"max_new_tokens":8,"details":true}}`)
		require.Equal(t, http.StatusOK, got.status, got.body)
		var a struct {
			Details struct {
				Reason string `json:"finish_reason"`
				Tokens []struct {
					ID int32 `json:"id"`
				} `json:"tokens"`
			} `json:"details"`
		}
		require.NoError(t, json.Unmarshal([]byte(got.body), &a))
		for _, token := range a.Details.Tokens {
			tokens = append(tokens, token.ID)
		}
		return tokens, a.Details.Reason
	}
	whole, reason := ids("lora")
	require.Equal(t, "length", reason)
	layAdapter(t, "lora", filepath.Join(dir, "ends"))
	config := fmt.Sprintf(`{"eos_token_id": [%d]}`, whole[3])
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ends", "generation_config.json"), []byte(config), 0o644))
	first := 0
	for whole[first] != whole[3] {
		first++
	}
	got, reason := ids("ends")
	require.Equal(t, whole[:first+1], got)
	require.Equal(t, "eos_token", reason)
	again, reason := ids("lora")
	require.Equal(t, whole, again)
	require.Equal(t, "length", reason)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ends", "generation_config.json"), []byte(`{"eos_token_id": 99999}`), 0o644))
	refused := s.post(t, "/v1/completions", fmt.Sprintf(body, "ends"))
	require.Equal(t, http.StatusUnprocessableEntity, refused.status)
	require.Contains(t, refused.body, "generation_config.json: eos_token_id 99999 is outside the vocabulary")
}

// A prompt that cannot fit is refused by its length, in each dialect's form.
func TestLongPrompts(t *testing.T) {
	s := newSite(t, nil)
	text := strings.Repeat("a", 700_000)
	for _, c := range []struct {
		path, body, field string
		status            int
	}{
		{"/v1/completions", `{"prompt":"%s"}`, "prompt", http.StatusBadRequest},
		{"/v1/completions", `{"prompt":["b","%s"]}`, "prompt[1]", http.StatusBadRequest},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"%s"}]}`, "messages", http.StatusBadRequest},
		{"/generate", `{"inputs":"%s"}`, "inputs", http.StatusUnprocessableEntity},
		{"/generate_stream", `{"inputs":"%s"}`, "inputs", http.StatusUnprocessableEntity},
		{"/tokenize", `{"inputs":"%s"}`, "inputs", http.StatusUnprocessableEntity},
		{"/tokenize", `{"prompt":"%s"}`, "prompt", http.StatusUnprocessableEntity},
		{"/v2/models/base-model/generate", `{"text_input":"%s"}`, "text_input", http.StatusUnprocessableEntity},
	} {
		got := s.post(t, c.path, fmt.Sprintf(c.body, text))
		require.Equal(t, c.status, got.status, c.path)
		require.Contains(t, got.body, c.field+" has 700", c.path)
		require.Regexp(t, `(at least|more than) \d+ tokens`, got.body, c.path)
	}
	require.Empty(t, s.engine.requests())
}
