package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type goldenFile struct {
	Now   time.Time
	Chats []struct {
		Messages  []Message
		Tools     []json.RawMessage
		Generate  bool
		Variables map[string]json.RawMessage
	}
	Templates map[string]struct {
		Source  string
		Results []struct{ Prompt, Error *string }
	}
}

// TestGoldens compares with transformers; see testdata/tokenizer/chats.py. The
// file CHAT_GOLDENS, if set, is compared too.
func TestGoldens(t *testing.T) {
	paths := []string{"testdata/goldens.json"}
	if more := os.Getenv("CHAT_GOLDENS"); more != "" {
		paths = append(paths, more)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var g goldenFile
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatal(err)
		}
		for name, golden := range g.Templates {
			t.Run(name, func(t *testing.T) {
				template, err := New(golden.Source)
				if err != nil {
					t.Fatal(err)
				}
				for i, want := range golden.Results {
					chat := g.Chats[i]
					got, err := template.Render(chat.Messages, Options{
						AddGenerationPrompt: chat.Generate, Tools: chat.Tools, Variables: chat.Variables,
						BOS: "<s>", EOS: "</s>", Now: g.Now,
					})
					switch {
					case want.Error != nil && err == nil:
						t.Errorf("chat %d: %q, want the error %s", i, got, *want.Error)
					case want.Prompt != nil && (err != nil || got != *want.Prompt):
						t.Errorf("chat %d, error %v:\n got %q\nwant %q", i, err, got, *want.Prompt)
					}
				}
			})
		}
	}
}

func TestRaised(t *testing.T) {
	template, err := New(`{{ raise_exception("roles must " + "alternate") }}`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = template.Render(nil, Options{})
	var raised *RaisedError
	if !errors.As(err, &raised) || raised.Message != "roles must alternate" {
		t.Errorf("error %v, want the template's", err)
	}
}

func TestNowIsCurrent(t *testing.T) {
	template, err := New(`{{ strftime_now("%Y") }}`)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Format("2006")
	if got, err := template.Render(nil, Options{}); err != nil || got != before && got != time.Now().Format("2006") {
		t.Errorf("the year is %q, error %v", got, err)
	}
}

func TestStrftime(t *testing.T) {
	at := time.Date(2026, 3, 7, 0, 5, 2, 0, time.UTC)
	for format, want := range map[string]string{
		"%d %b %Y": "07 Mar 2026", "%-d %B, %A": "7 March, Saturday", "%H:%M:%S": "00:05:02",
		"%-H %I %p": "0 12 AM", "100%% %e %j %y": "100%  7 066 26", "2006 Jan": "2006 Jan",
	} {
		if got, err := strftime(at, format); err != nil || got != want {
			t.Errorf("%q is %q, error %v, want %q", format, got, err, want)
		}
	}
	for _, format := range []string{"%", "%-", "%Q"} {
		if got, err := strftime(at, format); err == nil {
			t.Errorf("%q is %q, want an error", format, got)
		}
	}
}

func TestMessageJSON(t *testing.T) {
	for _, c := range []struct{ json, content, err string }{
		{`{"role": "user", "content": "a"}`, "a", ""},
		{`{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}`, "a\nb", ""},
		{`{"role": "assistant", "content": null}`, "", ""},
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
	if got, err := template.Render([]Message{m}, Options{}); err != nil || got != `{"b": 1, "a": 2}` {
		t.Errorf("arguments are %s, error %v", got, err)
	}
}

func TestRefuses(t *testing.T) {
	template, err := New(`{{ x | tojson }}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "undefined"},
		{Options{Variables: map[string]json.RawMessage{"x": []byte(`{"a": `)}}, "variable x"},
		{Options{Variables: map[string]json.RawMessage{"x": []byte(`99999999999999999999`)}}, "variable x"},
		{Options{Tools: []json.RawMessage{[]byte(`"f"`)}}, "tool 0"},
	} {
		if got, err := template.Render(nil, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v renders %q, error %v, want one with %s", c.o, got, err, c.want)
		}
	}
	if _, err := New(`{% if %}`); err == nil {
		t.Error("a broken template compiles")
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	render := func(o Options) string {
		t.Helper()
		template, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Render(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if _, err := Load(dir); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("an empty folder: error %v", err)
	}
	write("tokenizer_config.json", `{"chat_template": null}`)
	if _, err := Load(dir); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("a configuration without a template: error %v", err)
	}
	write("tokenizer_config.json", `{"chat_template": "one"}`)
	if got := render(Options{}); got != "one" {
		t.Errorf("one template renders %q", got)
	}
	write("tokenizer_config.json", `{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}`)
	if got := render(Options{}) + render(Options{Tools: []json.RawMessage{[]byte("{}")}}); got != "plaintools" {
		t.Errorf("named templates render %q", got)
	}
	write("tokenizer_config.json", `{"chat_template": [{"name": "rag", "template": ""}]}`)
	if _, err := Load(dir); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("no default template: error %v", err)
	}
	write("chat_template.jinja", "file {{ bos_token }}")
	if got := render(Options{BOS: "<s>"}); got != "file <s>" {
		t.Errorf("chat_template.jinja renders %q", got)
	}
}

func TestPrepare(t *testing.T) {
	for source, want := range map[string]string{
		`{{ x | tojson }}`:                          `{{ x | python_json }}`,
		`{%- set a = x|tojson(indent=4) %}`:         `{%- set a = x|python_json(indent=4) %}`,
		`x | tojson {# a | tojson #}{`:              `x | tojson {# a | tojson #}{`,
		`{{ "| tojson }}" ~ (x | tojson) }}`:        `{{ "| tojson }}" ~ (x | python_json) }}`,
		`{{ '\'| tojson' }}{{ x | tojsonl }}`:       `{{ '\'| tojson' }}{{ x | tojsonl }}`,
		`{{ {"a": {"b": 1}} | tojson }} | tojson}}`: `{{ {"a": {"b": 1}} | python_json }} | tojson}}`,
		`\u00e9{{ "\u00e9\x22\\u0041\n" }}` + "\n":  `\u00e9{{ "é\x22\\u0041\n" }}`,
		`{{ x | tojson`:                             `{{ x | python_json`,
	} {
		if got := prepare(source); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", source, got, want)
		}
	}
}

// FuzzTemplate: no template, and no message, makes the package panic.
func FuzzTemplate(f *testing.F) {
	f.Add(`{% for m in messages %}{{ m.content | tojson(indent=2) }}{% endfor %}`, "Hi")
	f.Add(`{{ {"a": 1} | tojson }}{# c #}{{ strftime_now("%d") }}`, "\xff")
	f.Fuzz(func(t *testing.T, source, content string) {
		if strings.Contains(source, "range") || strings.Contains(source, "*") {
			t.Skip("a template may ask for any amount of work")
		}
		template, err := New(source)
		if err != nil {
			return
		}
		_, _ = template.Render([]Message{{Role: "user", Content: content}}, Options{})
	})
}

// TestFind reads templates where transformers puts them.
func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  Source
		err   error
	}{
		"nothing":   {nil, Source{}, ErrNoTemplate},
		"jinja":     {map[string]string{templateFile: "a", tokenizerFile: `{"chat_template":"b"}`}, Source{Text: "a"}, nil},
		"tool file": {map[string]string{templateFile: "a", toolsFile: "t"}, Source{Text: "a", Tools: "t"}, nil},
		"config":    {map[string]string{tokenizerFile: `{"chat_template":"b"}`}, Source{Text: "b"}, nil},
		"named": {map[string]string{tokenizerFile: `{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]}`},
			Source{Text: "d", Tools: "t"}, nil},
		"no default": {map[string]string{tokenizerFile: `{"chat_template":[{"name":"rag","template":"r"}]}`}, Source{}, ErrNoTemplate},
	} {
		dir := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Find(dir); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestFindRefuses: what has no end, or is no template of any size, is named and
// left unread.
func TestFindRefuses(t *testing.T) {
	large := func(size int64) func(path string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, size))
		}
	}
	zero := func(path string) error { return os.Symlink("/dev/zero", path) }
	folder := func(path string) error { return os.Mkdir(path, 0o755) }
	for name, c := range map[string]struct {
		file string
		lay  func(path string) error
		want string
	}{
		"folder":                 {templateFile, folder, "is not a regular file"},
		"device":                 {templateFile, zero, "is not a regular file"},
		"device as config":       {tokenizerFile, zero, "is not a regular file"},
		"device for tools":       {toolsFile, zero, "is not a regular file"},
		"large":                  {templateFile, large(maxSource + 1), "is too large: 262145 bytes"},
		"large config":           {tokenizerFile, large(maxConfig + 1), "is too large: 67108865 bytes"},
		"large template, config": {tokenizerFile, largeInConfig, "it is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, filepath.FromSlash(c.file))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.file == toolsFile {
				if err := os.WriteFile(filepath.Join(dir, templateFile), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.lay(path); err != nil {
				t.Skip(err)
			}
			_, err := Find(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Base(path)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func largeInConfig(path string) error {
	text, err := json.Marshal(map[string]string{"chat_template": strings.Repeat("x", maxSource+1)})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
