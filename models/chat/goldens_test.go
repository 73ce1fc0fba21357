package chat

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

const goldens = "../../testdata/templates"

// publicTemplates are what transformers makes of templates: see
// testdata/templates/README.md.
type publicTemplates struct {
	Clock         time.Time
	Tokens        tokens
	Conversations ordered[conversationGolden]
	Templates     map[string]struct {
		SHA256         string
		Parts, Strings bool
		Results        []string
	}
}

type conversationGolden struct {
	Messages           []Message
	Tools, Documents   []json.RawMessage
	Generate, Continue bool
	Variables          map[string]json.RawMessage
}

// ordered are the members of an object in their order.
type ordered[T any] struct {
	names  []string
	values []T
}

func (o *ordered[T]) UnmarshalJSON(data []byte) error {
	var members object
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for _, m := range members {
		var v T
		if err := json.Unmarshal(m.value, &v); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		o.names, o.values = append(o.names, m.name), append(o.values, v)
	}
	return nil
}

// tokens is a Vocabulary of special tokens alone.
type tokens map[string]string

func (t tokens) names() []string { return slices.Sorted(maps.Keys(t)) }

func (t tokens) Role(name string) (int32, bool) {
	i, ok := slices.BinarySearch(t.names(), name)
	return int32(i), ok
}

func (t tokens) Token(id int32) string { return t[t.names()[id]] }

func readGoldens(t testing.TB) publicTemplates {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, "goldens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g publicTemplates
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// sourcesByDigest reads the templates that are at hand.
func sourcesByDigest(t testing.TB) map[string]string {
	t.Helper()
	folders := []string{goldens, "../../../shared/cases/templates/public"}
	if more := os.Getenv("CHAT_TEMPLATES"); more != "" {
		folders = append(folders, strings.Fields(more)...)
	}
	sources := map[string]string{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".jinja" {
				return err
			}
			data, err := os.ReadFile(path)
			sources[fmt.Sprintf("%x", sha256.Sum256(data))] = string(data)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return sources
}

// TestPublicTemplates: every public template renders as transformers renders
// it, to the byte, marks what transformers marks, and fails where it fails.
func TestPublicTemplates(t *testing.T) {
	g, sources := readGoldens(t), sourcesByDigest(t)
	missing, renderings := 0, 0
	for name, golden := range g.Templates {
		source, ok := sources[golden.SHA256]
		if !ok {
			missing++
			continue
		}
		t.Run(name, func(t *testing.T) {
			template, err := New(source)
			if err != nil {
				t.Fatal(err)
			}
			template = template.WithTokens(g.Tokens)
			if f := template.forms(); f.parts != golden.Parts || f.strings != golden.Strings {
				t.Errorf("it takes parts: %v, arguments as strings alone: %v; want %v, %v", f.parts, f.strings, golden.Parts, golden.Strings)
			}
			if err := template.Probe(t.Context()); err != nil {
				t.Errorf("its probe: %v", err)
			}
			for i, chat := range g.Conversations.values {
				want := golden.Results[i]
				name := g.Conversations.names[i]
				for change, takes := range map[string]bool{", joined": golden.Parts, ", parsed": golden.Strings} {
					if twin := slices.Index(g.Conversations.names, name+change); twin >= 0 && !takes {
						want = golden.Results[twin]
					}
				}
				output, err := template.RenderSpans(t.Context(), chat.Messages, Options{
					AddGenerationPrompt: chat.Generate, ContinueFinalMessage: chat.Continue,
					Tools: chat.Tools, Documents: chat.Documents, Variables: chat.Variables, Now: g.Clock,
				})
				if got := resultOf(output, err); got != want {
					t.Errorf("%s: %s, want %s; error %v\n%s", name, got, want, err, output.Text)
				}
				renderings++
			}
		})
	}
	t.Logf("%d templates, %d renderings", len(g.Templates)-missing, renderings)
	if missing > 0 {
		t.Logf("%d templates are not here: see CHAT_TEMPLATES in %s/README.md", missing, goldens)
	}
}

// resultOf is an output or an error as the goldens have it.
func resultOf(output jinja.Output, err error) string {
	var (
		raised *RaisedError
		failed *jinja.RuntimeError
		limit  *jinja.LimitError
	)
	switch {
	case errors.As(err, &raised):
		return "!TemplateError"
	case errors.As(err, &failed):
		return "!" + failed.Kind
	case errors.Is(err, errNotContinued):
		return "!ValueError"
	case errors.As(err, &limit) && strings.Contains(limit.What, "depth"):
		return "!RecursionError"
	case err != nil:
		return "!"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%.6x", sha256.Sum256([]byte(output.Text)))
	for _, s := range output.Generated {
		fmt.Fprintf(&b, " %d-%d", utf8.RuneCountInString(output.Text[:s.Start]), utf8.RuneCountInString(output.Text[:s.End]))
	}
	return b.String()
}
