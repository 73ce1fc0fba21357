package catalogue

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/chat"
)

// A folder whose chat templates alone changed has the digest it had, and yet
// the new templates are what requests get.
func TestTemplateAloneChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(configName, "{}")
	const tools = chat.TemplateFolder + "/tool_use.jinja"
	if err := os.Mkdir(filepath.Join(dir, chat.TemplateFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	write(tools, "")
	load := func(_ context.Context, s Source) (Adapter, error) {
		text, err := os.ReadFile(filepath.Join(s.Dir, "chat_template.jinja"))
		if err != nil {
			return nil, err
		}
		more, err := os.ReadFile(filepath.Join(s.Dir, tools))
		return &fakeAdapter{digest: "same", bytes: 100, template: string(text) + string(more)}, err
	}
	c, err := New(load, Options{Dir: filepath.Dir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, change := range []struct{ file, text, want string }{
		{"chat_template.jinja", "one", "one"}, {"chat_template.jinja", "another", "another"},
		{tools, " with tools", "another with tools"}, {tools, " with others", "another with others"},
	} {
		write(change.file, change.text)
		e, err := c.Load(t.Context(), "x")
		if err != nil || e.Adapter.ChatTemplate().Text != change.want {
			t.Fatalf("%+v, %v, want %q", e, err, change.want)
		}
	}
	if used, _ := c.Bytes(); used != 100 {
		t.Errorf("%d bytes", used)
	}
}

// A folder whose end tokens alone changed, or what it recommends to sample with,
// has the digest it had, and yet the new ones are what requests get.
func TestEndTokensAloneChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	load := func(_ context.Context, s Source) (Adapter, error) {
		text, err := os.ReadFile(filepath.Join(s.Dir, configName))
		most := int(text[1])
		return &fakeAdapter{digest: "same", bytes: 100, ends: []int32{int32(text[0])}, sampling: adapters.SamplingDefaults{TopK: &most}}, err
	}
	c, err := New(load, Options{Dir: filepath.Dir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, text := range []string{"a1", "b1", "b2"} {
		if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := c.Load(t.Context(), "x")
		if err != nil || !reflect.DeepEqual(e.Adapter.EndTokens(), []int32{int32(text[0])}) || *e.Adapter.Sampling().TopK != int(text[1]) {
			t.Fatalf("%+v, %v", e, err)
		}
	}
}
