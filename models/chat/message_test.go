package chat

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMessageJSON(t *testing.T) {
	for _, c := range []struct{ json, content, err string }{
		{`{"role": "user", "content": "a"}`, "a", ""},
		{`{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}`, "a\nb", ""},
		{`{"role": "assistant", "content": null}`, "", ""},
		{`{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]}`, "a\nno", ""},
		{`{"role": "assistant", "content": [{"type": "refusal", "text": "no"}]}`, "", `"refusal"`},
		{`{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}`, "", `"image_url"`},
		{`{"role": "user", "content": 7}`, "", "content"},
		{`{"content": "a"}`, "", "role"},
		{`{"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{"}}]}`, "", "arguments of f"},
		{`{"role": "assistant", "tool_calls": [{"id": "x", "function": {"arguments": "{}"}}]}`, "", `"x"`},
		{`{"role": "assistant", "tool_calls": [{"type": "custom", "id": "x"}]}`, "", `"custom"`},
	} {
		var m Message
		err := json.Unmarshal([]byte(c.json), &m)
		if c.err == "" && (err != nil || m.Content != c.content) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: content %q, error %v", c.json, m.Content, err)
		}
	}
	var m Message
	if err := json.Unmarshal([]byte(`{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}]}`), &m); err != nil {
		t.Fatal(err)
	}
	template, err := New(`{{ messages[0].tool_calls[0].function.arguments | tojson }}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := template.Render(t.Context(), []Message{m}, Options{}); err != nil || got != `{"b": 1, "a": 2}` {
		t.Errorf("arguments are %s, error %v", got, err)
	}
}

// messagesOf reads messages that are right.
func messagesOf(t testing.TB, messages string) []Message {
	t.Helper()
	var m []Message
	if err := json.Unmarshal([]byte(messages), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMessageIsWhatWasWritten: a template sees every key, in its order, null as
// None and nothing that nobody wrote.
func TestMessageIsWhatWasWritten(t *testing.T) {
	template, err := New(`{% for m in messages %}{{ m | tojson }}
{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	const said = `{"name": "ann", "role": "user", "content": "é<&>"}
{"role": "assistant", "content": null, "tool_calls": null, "weight": 1.50, "deep": {"b": [true, 12345678901234567890], "a": 0}}
{"role": "assistant", "tool_calls": [{"type": "function", "function": {"arguments": {"b": 1, "a": 2}, "name": "f"}, "id": 7}]}
`
	messages := messagesOf(t, "["+strings.ReplaceAll(strings.TrimSpace(said), "\n", ",")+"]")
	want := strings.Replace(said, "1.50", "1.5", 1)
	if got, err := template.Render(t.Context(), messages, Options{}); err != nil || got != want {
		t.Errorf("error %v\n got %s\nwant %s", err, got, want)
	}
	for i, want := range []bool{false, false, true} {
		if messages[i].HasToolCalls() != want {
			t.Errorf("message %d calls tools: %v", i, !want)
		}
	}
	made := []Message{{Role: "user", Content: `"Hi"`}}
	if got, err := template.Render(t.Context(), made, Options{}); err != nil || got != `{"role": "user", "content": "\"Hi\""}`+"\n" {
		t.Errorf("a message that was made: %s, error %v", got, err)
	}
	const refused = `[{"role": "assistant", "content": [{"type": "text", "text": "a", "x": 1}, {"type": "refusal", "refusal": "<no>"}]}]`
	parts, err := New(`{% for p in messages[0].content %}{{ p.type }} {{ p.text }} {{ p.x }};{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parts.Render(t.Context(), messagesOf(t, refused), Options{}); err != nil || got != "text a 1;text <no> ;" {
		t.Errorf("a refusal: %s, error %v", got, err)
	}
	// The last of two keys of one name counts, in the first's place, as in Python.
	if got, err := template.Render(t.Context(), messagesOf(t, `[{"role": "a", "content": "b", "role": "c"}]`), Options{}); err != nil || got != `{"role": "c", "content": "b"}`+"\n" {
		t.Errorf("a key twice: %s, error %v", got, err)
	}
}

// TestNullContent: the call of a message without text is not lost.
func TestNullContent(t *testing.T) {
	template, err := New(`{% for m in messages %}{% if m.content is none %}CALL {{ m.tool_calls[0].function.name }};{% endif %}{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	messages := messagesOf(t, `[{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}]`)
	if got, err := template.Render(t.Context(), messages, Options{}); err != nil || got != "CALL look;" {
		t.Errorf("%q, error %v", got, err)
	}
}

// TestForms: parts and arguments reach a template in the form that it takes.
func TestForms(t *testing.T) {
	const messages = `[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
		{"role": "assistant", "content": "c", "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\":  1}"}}]}]`
	const object, text = "{{ m.tool_calls[0].function.arguments | tojson }}", "{{ '' + m.tool_calls[0].function.arguments }}"
	for name, c := range map[string]struct{ source, want string }{
		"text and object":  {"{{ m.content }}{% if m.tool_calls %}" + object + "{% endif %};", `a` + "\n" + `b;c{"x": 1};`},
		"text and string":  {"{{ m.content }}{% if m.tool_calls %}" + text + "{% endif %};", `a` + "\n" + `b;c{"x":  1};`},
		"printed":          {"{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments }}{% endif %};", `a` + "\n" + `b;c{"x":  1};`},
		"parts":            {"{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %};", "ab;c;"},
		"left out if list": {"{% if m.content is string %}{{ m.content }}{% endif %};", "a\nb;c;"},
		"by a macro":       {"{% macro w(x) %}{{ x if x is string else x | map(attribute='text') | join('+') }}{% endmacro %}{{ w(m.content) }};", "a+b;c;"},
	} {
		template, err := New("{% for m in messages %}" + c.source + "{% endfor %}")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := template.Render(t.Context(), messagesOf(t, messages), Options{}); err != nil || got != c.want {
			t.Errorf("%s: %q, want %q, error %v", name, got, c.want, err)
		}
	}
}

// TestContinue: what cannot be continued is refused. The rest is among the
// goldens.
func TestContinue(t *testing.T) {
	template, err := New("{% for m in messages %}{{ m.role }}{% if m.role != 'silent' %}{{ m.content }}{% endif %};{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	for _, messages := range []string{
		`[]`, `[{"role": "a", "content": null}]`, `[{"role": "a"}]`, `[{"role": "silent", "content": "b"}]`,
	} {
		if got, err := template.Render(t.Context(), messagesOf(t, messages), Options{ContinueFinalMessage: true}); err == nil {
			t.Errorf("%s becomes %q", messages, got)
		}
	}
}
