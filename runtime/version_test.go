package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/models/chat"
)

// A prompt that was made for one version of an adapter is not run by another.
func TestVersionIsHeldTo(t *testing.T) {
	s := newScript(t, Options{})
	s.adapters("x")
	for version, want := range map[string]error{"x": nil, "older": ErrVersion} {
		s.must(s.request(version, &Request{Prompt: prompt("a", 2), Adapter: "x", Version: version, MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1}))
		s.run()
		if got := s.take(version); !errors.Is(got.err, want) || want == nil && got.finish != FinishLength {
			t.Errorf("%s: %+v", version, got)
		}
	}
	s.empty()
}

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
	c, err := NewCatalogue(load, CatalogueOptions{Dir: filepath.Dir(dir)})
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

// What is told of a request's waiting counts from its arrival, which may be
// before Submit, and is known at the first event.
func TestQueuedCountsFromArrival(t *testing.T) {
	s := newScript(t, Options{})
	arrived := s.clock.Add(-5 * time.Second)
	s.must(s.request("a", &Request{Prompt: prompt("a", 2), Arrived: arrived, MaxTokens: 2, Logprobs: -1, PromptLogprobs: -1}))
	s.step()
	if _, err := s.streams["a"].Next(t.Context()); err != nil || s.streams["a"].Queued() != 5*time.Second {
		t.Errorf("queued %v, %v", s.streams["a"].Queued(), err)
	}
	s.run()
	if u := s.take("a").usage; u.Queued != 5*time.Second || u.FirstToken != 5*time.Second || u.Total != 6*time.Second {
		t.Errorf("%+v", u)
	}
}
