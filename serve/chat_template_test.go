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

	// What is wrong with a conversation is not the template's fault.
	template("{% for m in messages %}{{ m.content }}{{ m.tool_calls }}{% endfor %}")
	got = s.post(t, "/v1/chat/completions", `{"model":"talks","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}],"continue_final_message":true}`)
	require.Equal(t, 400, got.status, got.body)
	require.Contains(t, got.body, "these messages cannot be rendered: chat: the last message cannot be continued")

	// What is wrong with it is told of the adapter, and only chats need it.
	for source, status := range map[string]int{"{% for m in messages %}": 422, "{{ messages | nothing }}": 422, "{{ raise_exception('no') }}": 400} {
		template(source)
		got := s.chat(t, "talks")
		require.Equal(t, status, got.status, got.body)
		require.Contains(t, got.body, `adapter \"talks\"`)
		require.Contains(t, got.body, "chat template")
		require.Equal(t, 200, s.post(t, "/v1/completions", `{"model":"talks","prompt":"Hello","max_tokens":2}`).status)
	}
	got = s.upload(t, "new", "{% for %}")
	require.Equal(t, 422, got.status, got.body)
	require.Contains(t, got.body, "its chat template cannot be used")
}

// An adapter's template that would take the server's memory, stack or time is
// refused, at its first use or when it is uploaded, and costs nobody else.
func TestHostileTemplateOfAnAdapter(t *testing.T) {
	s := realSite(t)
	folder := filepath.Join(s.server.config.Adapters, "hostile")
	layAdapter(t, "lora", folder)
	for _, c := range []struct{ source, want string }{
		{`{{ "x" * 100000000000 }}`, "the template takes more than"},
		{`{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor %}{% endfor %}`, "the template takes more than"},
		{`{% if messages[0].content == "Hello" and messages | length == 1 %}{{ "x" * 100000000000 }}{% endif %}`, "the template takes more than"},
		{"{{ " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000) + " }}", "the template takes more than"},
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
	got := s.upload(t, "new", `{% if tools %}{{ "x" * 100000000000 }}{% endif %}`)
	require.Equal(t, 422, got.status, got.body)
	require.Contains(t, got.body, "its chat template cannot be used: chat: template: the template takes more than")
}

// upload sends the adapter lora with a chat template.
func (s *site) upload(t *testing.T, name, template string) answer {
	t.Helper()
	entries := []entry{{name: "chat_template.jinja", body: template}}
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(s.server.config.Adapters, "lora", file))
		require.NoError(t, err)
		entries = append(entries, entry{name: file, body: string(text)})
	}
	return s.send(t, "PUT", "/v1/adapters/"+name, string(gzipOf(t, tarOf(t, entries...))))
}

// withTemplate is a site whose base has this template.
func withTemplate(t *testing.T, source string) *site {
	t.Helper()
	return newSite(t, func(_ *Config, p *Parts) {
		var err error
		p.Chat, err = chat.New(source)
		require.NoError(t, err)
	})
}

// A base's template is tried when the server starts, and one that takes too
// much only later costs the requests that it does so on.
func TestHostileTemplateOfTheBase(t *testing.T) {
	template, err := chat.New(`{{ 'x' * 100000000000 }}`)
	require.NoError(t, err)
	s := newSite(t, nil)
	_, err = newTemplates(template, s.server.text, nil)
	require.ErrorContains(t, err, "the base's chat template cannot be used: chat: template: the template takes more than")

	s = withTemplate(t, `{% if messages[0].content == "Hello" and messages | length == 1 %}{{ 'x' * 100000000000 }}{% endif %}{{ messages[0].content }}`)
	got := s.chat(t, "base-model")
	require.Equal(t, 400, got.status, got.body)
	require.Contains(t, got.body, "the model's chat template cannot render these messages: chat: template: the template takes more than")
	require.Equal(t, 200, s.post(t, "/v1/chat/completions", `{"messages":[{"role":"user","content":"Bye"}]}`).status)
}

// A template of which nothing comes is at fault itself: of the base it is told
// so, an adapter's cannot be used.
func TestTemplateThatRendersNothing(t *testing.T) {
	s := withTemplate(t, `{# nothing #}`)
	got := s.chat(t, "base-model")
	require.Equal(t, 400, got.status, got.body)
	require.Contains(t, got.body, "the model's chat template is at fault, not these messages: it renders nothing")
	require.Empty(t, s.engine.requests())
}

// What a client writes reaches the template as it was written.
func TestChatPrompts(t *testing.T) {
	for _, c := range []struct{ template, body, want string }{
		{`{% for m in messages %}{% if m.content is none %}CALL {{ m.tool_calls[0].function.name }};{% endif %}{% endfor %}`,
			`{"messages":[{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"a","type":"function","index":0,"function":{"name":"look","arguments":"{}"}}]}]}`, "CALL look;"},
		{`{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}`,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`, "ab"},
		{`{% for m in messages %}{{ m.content }}{% endfor %}`,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`, "a\nb"},
		{`{% for m in messages %}{{ m.content }}{{ m.cache_control.type }}{% endfor %}`,
			`{"messages":[{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"b"}],"cache_control":{"type":"c"}}]}`, "a\nbc"},
		{`{{ reasoning_effort }}{{ messages[0].content }}`, `{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"high"}`, "higha"},
		{`{{ enable_thinking }}{{ messages[0].content }}`, `{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"minimal"}`, "Truea"},
		{`{{ enable_thinking }}{{ messages[0].content }}`, `{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"none"}`, "Falsea"},
		{`{{ enable_thinking }}{{ reasoning_effort }}`, `{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"none","chat_template_kwargs":{"enable_thinking":true}}`, "Truenone"},
		{`{{ reasoning_effort is defined }}`, `{"messages":[{"role":"user","content":"a"}],"reasoning_effort":null}`, "False"},
		{`{{ messages[0].mood }}{{ messages[0].content }}`, `{"messages":[{"role":"user","content":"a","mood":"glad"}]}`, "glada"},
		{`{{ messages[0].content }}`, `{"messages":[{"role":"user","content":"a","name":"ann","id":"7","reasoning_content":"b","reasoning":null}]}`, "a"},
		{`{{ documents[0].title }}`, `{"messages":[{"role":"user","content":"a"}],"documents":[{"title":"t"}]}`, "t"},
		{`{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}`,
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"continue_final_message":true}`, "<s>[a][b"},
		{`{{ bos_token }}`, `{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"bos_token":"b"}}`, "b"},
	} {
		s := withTemplate(t, c.template)
		got := s.post(t, "/v1/chat/completions", c.body)
		require.Equal(t, 200, got.status, "%s: %s", c.template, got.body)
		want, err := s.server.text.Encode(c.want, false)
		require.NoError(t, err)
		require.Equal(t, want, s.engine.requests()[0].Prompt, "%s: want %q, not %q", c.template, c.want, s.server.text.Decode(s.engine.requests()[0].Prompt, false))
	}
}

// What neither the API nor the template reads is refused by name.
func TestChatRefusesWhatNobodyReads(t *testing.T) {
	s := withTemplate(t, `{% for m in messages %}{{ m.content }}{{ m.mood }}{% endfor %}`)
	for body, want := range map[string]string{
		`{"messages":[{"role":"user","contents":"x"}]}`:                                                                           "messages[0].content is missing: give a text, or tool_calls; is contents meant to be it?",
		`{"messages":[{"role":"user","content":"x","nam":"ann"}]}`:                                                                "messages[0].nam is read neither by this API nor by the model's chat template: leave it out; did you mean name?",
		`{"messages":[{"role":"user","content":"x","mood":1},{"role":"user","content":"x","weight":0}]}`:                          "messages[1].weight is read neither by this API nor by the model's chat template: leave it out",
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x","weight":1}]}]}`:                                        "messages[0].content[0].weight is read neither",
		`{"messages":[{"role":"user","content":[{"type":"refusal","refusal":"x"}]}]}`:                                             `messages[0].content[0].type is \"refusal\", and the role \"user\": only an assistant refuses`,
		`{"messages":[{"role":"assistant","content":[{"type":"refusal","text":"x"}]}]}`:                                           "messages[0].content[0].refusal is missing",
		`{"messages":[{"role":"assistant","content":[{"type":"text","text":"x","refusal":"x"}]}]}`:                                "messages[0].content[0] has a text and a refusal: give what its type says",
		`{"messages":[{"role":"user","content":"x"}],"reasoning_effort":"some"}`:                                                  `reasoning_effort is \"some\": give one of none, minimal, low, medium, high, xhigh, max`,
		`{"messages":[{"role":"user","content":"x"}],"reasoning_effort":"low","chat_template_kwargs":{"reasoning_effort":"low"}}`: "reasoning_effort and chat_template_kwargs.reasoning_effort both say how much to reason: give one",
		`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}","strict":true}}]}]}`:             "messages[0].tool_calls has no place in the model's chat template: leave it out",
		`{"messages":[{"role":"user","content":"x"}],"documents":[{}]}`:                                                           "the model's chat template has no place for documents: leave them out",
		`{"messages":[{"role":"user","content":"x"}],"continue_final_message":true,"add_generation_prompt":true}`:                 "continue_final_message goes on with the last message, and add_generation_prompt begins another: give one",
		`{"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":{"m":1,"mood":2}}`:                                    "chat_template_kwargs.m is not read by the model's chat template: leave it out",
		`{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]}`:                      "the model's chat template has no place for tools: leave them out",
	} {
		got := s.post(t, "/v1/chat/completions", body)
		require.Equal(t, 400, got.status, got.body)
		require.Contains(t, got.body, want)
	}
	s = withTemplate(t, `{% for m in messages %}{{ m.content }}{{ m.tool_calls }}{% endfor %}`)
	got := s.post(t, "/v1/chat/completions", `{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}","strict":true}}]}]}`)
	require.Equal(t, 400, got.status, got.body)
	require.Contains(t, got.body, "messages[0].tool_calls[0].function.strict is read neither by this API nor by the model's chat template")
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
	require.Equal(t, "digest-of-sql", s.engine.requests()[0].Lease.Digest())
}
