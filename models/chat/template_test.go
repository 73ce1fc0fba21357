package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/internal/regular"
)

func TestRaised(t *testing.T) {
	template, err := New(`{{ raise_exception("roles must " + "alternate") }}`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = template.Render(t.Context(), nil, Options{})
	var raised *RaisedError
	if !errors.As(err, &raised) || raised.Message != "roles must alternate" {
		t.Errorf("error %v, want the template's", err)
	}
}

// TestFaultsAreShort: a failure that quotes much is cut.
func TestFaultsAreShort(t *testing.T) {
	for _, source := range []string{`{{ raise_exception("é" * 100000) }}`, `{{ messages["é" * 100000].x.y }}`} {
		template, err := New(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := template.Render(t.Context(), nil, Options{}); err == nil || len(err.Error()) > maxFault+100 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: an error of %d bytes", source, len(fmt.Sprint(err)))
		}
	}
}

func TestNowIsCurrent(t *testing.T) {
	template, err := New(`{{ strftime_now("%Y") }}`)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Format("2006")
	if got, err := template.Render(t.Context(), nil, Options{}); err != nil || got != before && got != time.Now().Format("2006") {
		t.Errorf("the year is %q, error %v", got, err)
	}
}

// TestStrftime holds what Python 3.11 writes.
func TestStrftime(t *testing.T) {
	times := []time.Time{time.Date(2026, 3, 7, 0, 5, 2, 0, time.UTC), time.Date(2027, 1, 3, 13, 45, 9, 0, time.UTC), time.Date(2024, 12, 30, 12, 0, 0, 678_000, time.UTC)}
	for format, want := range map[string][3]string{
		"%d %b %Y":                {"07 Mar 2026", "03 Jan 2027", "30 Dec 2024"},
		"%-d %B, %A":              {"7 March, Saturday", "3 January, Sunday", "30 December, Monday"},
		"%-H %I %p %P":            {"0 12 AM am", "13 01 PM pm", "12 12 PM pm"},
		"100%% %e %j %y":          {"100%  7 066 26", "100%  3 003 27", "100% 30 365 24"},
		"2006 Jan":                {"2006 Jan", "2006 Jan", "2006 Jan"},
		"%_d %0e %^a %^B":         {" 7 07 SAT MARCH", " 3 03 SUN JANUARY", "30 30 MON DECEMBER"},
		"%c|%D|%F|%R":             {"Sat Mar  7 00:05:02 2026|03/07/26|2026-03-07|00:05", "Sun Jan  3 13:45:09 2027|01/03/27|2027-01-03|13:45", "Mon Dec 30 12:00:00 2024|12/30/24|2024-12-30|12:00"},
		"%H:%M:%S|%T|%r|%x|%X":    {"00:05:02|00:05:02|12:05:02 AM|03/07/26|00:05:02", "13:45:09|13:45:09|01:45:09 PM|01/03/27|13:45:09", "12:00:00|12:00:00|12:00:00 PM|12/30/24|12:00:00"},
		"%C %g %G %V %U %W %u %w": {"20 26 2026 10 09 09 6 6", "20 26 2026 53 01 00 7 0", "20 25 2025 01 52 53 1 1"},
		"%k %l %-I %-j":           {" 0 12 12 66", "13  1 1 3", "12 12 12 365"},
		"%Z%z%n%t|%f":             {"\n\t|000000", "\n\t|000000", "\n\t|000678"},
		"%-m/%-d/%-y %h %-S":      {"3/7/26 Mar 2", "1/3/27 Jan 9", "12/30/24 Dec 0"},
	} {
		for i, at := range times {
			if got, err := strftime(at, format); err != nil || got != want[i] {
				t.Errorf("%q is %q, error %v, want %q", format, got, err, want[i])
			}
		}
	}
	for _, format := range []string{"%", "%-", "a%", "%Q"} {
		if got, err := strftime(times[0], format); err == nil {
			t.Errorf("%q is %q, want an error", format, got)
		}
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
		{Options{}, "Undefined"},
		{Options{Variables: map[string]json.RawMessage{"x": []byte(`{"a": `)}}, "variable x"},
		{Options{Tools: []json.RawMessage{[]byte(`"f"`)}}, "tool 0"},
		{Options{Documents: []json.RawMessage{[]byte(`{}`), []byte(`[]`)}}, "document 1"},
	} {
		if got, err := template.Render(t.Context(), nil, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v renders %q, error %v, want one with %s", c.o, got, err, c.want)
		}
	}
	if _, err := New(`{% if %}`); err == nil {
		t.Error("a broken template compiles")
	}
	if _, err := New("a\xffb"); err == nil || !strings.Contains(err.Error(), "not valid UTF-8") {
		t.Errorf("a template that is no text: error %v", err)
	}
	if _, err := New(strings.Repeat("x", maxSource+1)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a large template: error %v", err)
	}
	if _, err := (Source{Text: "x", Tools: strings.Repeat("x", maxSource+1)}).Compile(); err == nil || !strings.Contains(err.Error(), "tool_use") {
		t.Errorf("a large template for tools: error %v", err)
	}
}

// TestTokens: a template sees the special tokens that the model has, as
// transformers gives them, and no others.
func TestTokens(t *testing.T) {
	template, err := New("{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}|{{ messages }}")
	if err != nil {
		t.Fatal(err)
	}
	with := template.WithTokens(tokens{"bos_token": "<s>", "eos_token": "</s>"})
	if got, err := with.Render(t.Context(), nil, Options{}); err != nil || got != "<s>|</s>|False|[]" {
		t.Errorf("%q, error %v", got, err)
	}
	if got, err := template.Render(t.Context(), nil, Options{}); err != nil || got != "||False|[]" {
		t.Errorf("without tokens: %q, error %v", got, err)
	}
}

// TestFromGGUF reads both of a file's templates.
func TestFromGGUF(t *testing.T) {
	if _, err := FromGGUF(metadata{}); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("none: error %v", err)
	}
	template, err := FromGGUF(metadata{"tokenizer.chat_template": "plain", "tokenizer.chat_template.tool_use": "tools"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err1 := template.Render(t.Context(), nil, Options{})
	tools, err2 := template.Render(t.Context(), nil, Options{Tools: probeTools})
	if err := errors.Join(err1, err2); err != nil || plain+tools != "plaintools" {
		t.Errorf("%q and %q, error %v", plain, tools, err)
	}
	if _, err := FromGGUF(metadata{"tokenizer.chat_template": "{% if %}"}); err == nil || !strings.Contains(err.Error(), "tokenizer.chat_template") {
		t.Errorf("broken: error %v", err)
	}
}

type metadata map[string]string

func (m metadata) String(key string) (string, bool) {
	text, ok := m[key]
	return text, ok
}

// hostile are templates that ask for more than any conversation needs.
var hostile = map[string]string{
	"a string times":  `{{ 'x' * 100000000000 }}`,
	"loops":           `{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor %}{% endfor %}`,
	"doubling":        `{% set n = namespace(s="x") %}{% for i in range(100000) %}{% set n.s = n.s ~ n.s %}{% endfor %}`,
	"macros":          `{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`,
	"output":          `{% for i in range(100000) %}{{ "abcdefgh" * 1000 }}{% endfor %}`,
	"only with tools": `{% if tools %}{{ 'x' * 100000000000 }}{% endif %}`,
}

// TestProbe refuses at once what takes too much, and nothing else.
func TestProbe(t *testing.T) {
	for name, source := range hostile {
		template, err := New(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := template.Probe(t.Context()); !errors.Is(err, ErrLimits) {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := template.Render(t.Context(), nil, Options{Tools: probeTools}); !errors.Is(err, ErrLimits) {
			t.Errorf("%s, rendered: error %v", name, err)
		}
	}
	for _, source := range []string{"", "Hello", `{{ raise_exception("no") }}`, `{{ none + 1 }}`, `{% for i in range(100000) %}x{% endfor %}`} {
		template, err := New(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := template.Probe(t.Context()); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// TestRenderEndsWithItsContext: nobody renders for a client that has left.
func TestRenderEndsWithItsContext(t *testing.T) {
	template, err := New(hostile["loops"])
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the client is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := template.Render(ctx, nil, Options{}); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
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
		got, err := template.Render(t.Context(), nil, o)
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
	write("tokenizer_config.json", `{"chat_template": {"default": "plain", "tool_use": "tools"}}`)
	if got := render(Options{}) + render(Options{Tools: []json.RawMessage{[]byte("{}")}}); got != "plaintools" {
		t.Errorf("templates by name render %q", got)
	}
	for _, broken := range []string{`{"chat_template": 7}`, `{"chat_template": [7]}`, `{"chat_template": {"default": 7}}`, `{`} {
		write("tokenizer_config.json", broken)
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "tokenizer_config.json") {
			t.Errorf("%s: error %v", broken, err)
		}
	}
	write("chat_template.jinja", "file")
	if got := render(Options{}); got != "file" {
		t.Errorf("chat_template.jinja renders %q", got)
	}
}

// FuzzTemplate: no template, and no message, makes the package panic.
func FuzzTemplate(f *testing.F) {
	f.Add(`{% for m in messages %}{{ m.content | tojson(indent=2) }}{% endfor %}`, `{"role": "user", "content": "Hi"}`)
	f.Add(`{{ {"a": 1} | tojson }}{# c #}{{ strftime_now("%d") }}`, `{"role": "user", "content": [{"type": "text", "text": "a"}]}`)
	f.Add(`{{ messages[0].tool_calls }}`, `{"role": "x", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}`)
	f.Fuzz(func(t *testing.T, source, message string) {
		var m Message
		if json.Unmarshal([]byte(message), &m) != nil {
			return
		}
		template, err := New(source)
		if err != nil || template.Probe(t.Context()) != nil {
			return
		}
		_, _ = template.Render(t.Context(), []Message{m}, Options{})
		_, _ = template.Render(t.Context(), []Message{m}, Options{ContinueFinalMessage: true})
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
		"large config":           {tokenizerFile, large(regular.Config + 1), "is too large: 67108865 bytes"},
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
