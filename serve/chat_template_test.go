package serve

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models/chat"
)

// chat asks an adapter for an answer to one message, greedily.
func (s *site) chat(t *testing.T, model string) answer {
	t.Helper()
	return s.post(t, "/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hello"}],"max_tokens":8,"temperature":0}`, model))
}

// A conversation with an adapter that brings a chat template is rendered with
// that, with any other by the base's; the answer is that of the rendered text.
func TestAdapterBringsItsTemplate(t *testing.T) {
	s := realSite(t)
	folder := filepath.Join(s.server.config.Adapters, "talks")
	layAdapter(t, "lora", folder)
	template := func(source string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "chat_template.jinja"), []byte(source), 0o644))
	}
	complete := func(prompt string) (text, tokens string) {
		got := s.post(t, "/v1/completions", fmt.Sprintf(`{"model":"lora","prompt":%q,"max_tokens":8,"temperature":0,"add_special_tokens":false}`, prompt))
		require.Equal(t, 200, got.status, got.body)
		return member(t, got.body, "choices", "0", "text"), member(t, got.body, "usage", "prompt_tokens")
	}
	for _, c := range []struct{ model, source, rendered string }{
		{"lora", "", "<s>[user]Hello\n[assistant]"},
		{"talks", "{% for m in messages %}Q: {{ m.content }} A:{% endfor %}", "Q: Hello A:"},
		{"talks", "{{ '{' + messages[0].content + '}' }}", "{Hello}"}, // changed while the server runs
	} {
		if c.source != "" {
			template(c.source)
		}
		got := s.chat(t, c.model)
		require.Equal(t, 200, got.status, got.body)
		text, tokens := complete(c.rendered)
		require.Equal(t, text, member(t, got.body, "choices", "0", "message", "content"), c.rendered)
		require.Equal(t, tokens, member(t, got.body, "usage", "prompt_tokens"), c.rendered)
	}

	// An adapter's template for conversations with tools.
	require.NoError(t, os.Remove(filepath.Join(folder, "chat_template.jinja")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tokenizer_config.json"),
		[]byte(`{"chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"<{{ tools[0].function.name }}>"}]}`), 0o644))
	got := s.post(t, "/v1/chat/completions", `{"model":"talks","messages":[{"role":"user","content":"Hello"}],"max_tokens":8,"temperature":0,
		"tools":[{"type":"function","function":{"name":"look"}}]}`)
	require.Equal(t, 200, got.status, got.body)
	toolsText, toolsTokens := complete("<look>")
	require.Equal(t, toolsText, member(t, got.body, "choices", "0", "message", "content"))
	require.Equal(t, toolsTokens, member(t, got.body, "usage", "prompt_tokens"))

	// One without a place for them refuses tools rather than leave them out.
	require.NoError(t, os.Remove(filepath.Join(folder, "tokenizer_config.json")))
	template("{% for m in messages %}{{ m.content }}{% endfor %}")
	require.Equal(t, 200, s.chat(t, "talks").status)
	got = s.post(t, "/v1/chat/completions", `{"model":"talks","messages":[{"role":"user","content":"Hello"}],"max_tokens":8,
		"tools":[{"type":"function","function":{"name":"look"}}]}`)
	require.Equal(t, 400, got.status, got.body)
	require.Contains(t, got.body, `adapter \"talks\"'s chat template has no place for tools: leave them out`)
	require.Contains(t, got.body, `"param":"tools"`)

	// What is wrong with it is told of the adapter, and only chats need it.
	for source, status := range map[string]int{"{% for m in messages %}": 422, "{{ messages | nothing }}": 422, "{{ raise_exception('no') }}": 400} {
		template(source)
		got := s.chat(t, "talks")
		require.Equal(t, status, got.status, got.body)
		require.Contains(t, got.body, `adapter \"talks\"`)
		require.Contains(t, got.body, "chat template")
		require.Equal(t, 200, s.post(t, "/v1/completions", `{"model":"talks","prompt":"Hello","max_tokens":2}`).status)
	}
	text, err := os.ReadFile(filepath.Join(folder, "adapter_config.json"))
	require.NoError(t, err)
	tensors, err := os.ReadFile(filepath.Join(folder, "adapter_model.safetensors"))
	require.NoError(t, err)
	got = s.send(t, "PUT", "/v1/adapters/new", string(gzipOf(t, tarOf(t, entry{name: "adapter_config.json", body: string(text)},
		entry{name: "adapter_model.safetensors", body: string(tensors)}, entry{name: "chat_template.jinja", body: "{% for %}"}))))
	require.Equal(t, 422, got.status, got.body)
	require.Contains(t, got.body, "its chat template cannot be used")
}

// An adapter's template that would take the server's memory, stack or time
// costs the one request, and the operator's is not rendered elsewhere.
func TestHostileTemplateOfAnAdapter(t *testing.T) {
	s := realSite(t)
	folder := filepath.Join(s.server.config.Adapters, "hostile")
	layAdapter(t, "lora", folder)
	for _, c := range []struct{ source, want string }{
		{`{{ "x" * 10000000 }}`, "it wrote more than"},
		{`{% set a = [] %}{% set _ = a.append(a) %}{{ a }}`, "it took too much memory"},
		{`{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`, "it took more time than 2s"},
		{"{{ " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000) + " }}", "it is nested too deeply"},
		{strings.Repeat("x", 1<<20), "is too large"},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "chat_template.jinja"), []byte(c.source), 0o644))
		got := s.chat(t, "hostile")
		require.Equal(t, 422, got.status, got.body)
		require.Contains(t, got.body, `adapter \"hostile\"`)
		require.Contains(t, got.body, c.want)
		require.Equal(t, 200, s.chat(t, "lora").status)
	}
	require.Equal(t, 200, s.chat(t, "tiny").status)

	template, err := chat.Find("testdata")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "chat_template.jinja"), []byte(template.Text), 0o644))
	s.server.templates.sandbox.Close()
	require.Equal(t, 200, s.chat(t, "hostile").status, "the base's own template")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "chat_template.jinja"), []byte(template.Text+"x"), 0o644))
	got := s.chat(t, "hostile")
	require.Equal(t, 500, got.status, "no fault of the adapter's")
	require.Contains(t, got.body, "no process to render templates in")
}

// An adapter that does not load is as much of an error for a chat as for a
// completion.
func TestChatNeedsItsAdapter(t *testing.T) {
	s := newSite(t, nil)
	require.Equal(t, 404, s.chat(t, "nope").status)
	got := s.chat(t, "broken")
	require.Equal(t, 422, got.status)
	require.Contains(t, got.body, `adapter \"broken\" cannot be served: lora_B.weight is missing`)
	require.Equal(t, 200, s.chat(t, "sql").status)
	require.Equal(t, "digest-of-sql", s.engine.requests()[0].Version)
}
