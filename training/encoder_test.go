package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// openEncoder opens a golden encoder, or a decoder, with the tokenizer of letters, as
// openTiny does. Training changes it.
func openEncoder(t testing.TB, base string) *Opened {
	t.Helper()
	return openWith(t, modeltest.Goldens(t, base))
}

func openWith(t testing.TB, dir string) *Opened {
	t.Helper()
	m, s, err := models.Open(dir, models.Options{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	o := &Opened{Path: dir, Model: m, Source: s, Tokenizer: letters(t)}
	t.Cleanup(func() { o.Close() })
	return o
}

// rowsOf writes rows as JSON, a line each.
func rowsOf(t testing.TB, rows ...any) string {
	t.Helper()
	var b strings.Builder
	for _, r := range rows {
		if text, ok := r.(string); ok {
			fmt.Fprintln(&b, text)
			continue
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// headRows are rows for each objective of a head, with the classes that they name.
func headRows(t testing.TB, objective string) (path string, classes []string) {
	var rows []any
	for i := range 13 {
		text := fmt.Sprintf("ab %s", strings.Repeat("cd ", i%4+1))
		switch objective {
		case tags:
			rows = append(rows, map[string]any{"tokens": []string{"ab", "c", "def"}, "tags": []string{"O", []string{"B-X", "O"}[i%2], "I-X"}})
		case multiLabels:
			rows = append(rows, map[string]any{"text": text, "label": [][]string{{}, {"a"}, {"c", "a"}, {"b"}}[i%4]})
		case regresses:
			rows = append(rows, map[string]any{"text": text, "text_pair": "e", "label": float64(i) / 4})
		default:
			rows = append(rows, map[string]any{"text": text, "label": []string{"no", "yes", "perhaps"}[i%3]})
		}
	}
	path = rowsOf(t, rows...)
	return path, map[string][]string{
		tags: {"B-X", "I-X", "O"}, multiLabels: {"a", "b", "c"}, regresses: {"LABEL_0"}, classifies: {"no", "perhaps", "yes"},
	}[objective]
}

// headConfig is a run of a few steps for a head.
func headConfig(t testing.TB, method, objective string) Config {
	t.Helper()
	c := tinyConfig(t, method)
	c.Objective, c.MaxSteps, c.Warmup = objective, 6, 0
	path, _ := headRows(t, objective)
	c.Data, c.Validation = []string{path}, []string{path}
	c.Columns.Text, c.Columns.Pair, c.Columns.Label, c.Columns.Words, c.Columns.Tags = "text", "text_pair", "label", "tokens", "tags"
	return c
}

func trainHead(t testing.TB, c Config, base *Opened, q *quiet) (*Summary, error) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := NewRun(c, base, q)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Plan(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	q.stop = stop
	return r.Do(ctx)
}

// TestObjectives trains a head for each objective, which has the classes of the data, and
// what is read back computes the same bits.
func TestObjectives(t *testing.T) {
	for _, c := range []struct{ base, method, objective string }{
		{"encoders/bert", "lora", classifies}, {"encoders/roberta", "lora", tags}, {"encoders/deberta", "lora", multiLabels}, {"encoders/bert", "bitfit", regresses},
		{"llama-gqa", "lora", classifies}, {"llama-gqa", "lora", tags},
		{"encoders/bert", "full", classifies}, {"encoders/mpnet", "full", regresses}, {"encoders/deberta", "full", multiLabels}, {"encoders/roberta", "full", tags},
		{"llama-gqa", "full", classifies},
	} {
		t.Run(strings.Join([]string{c.base, c.method, c.objective}, "-"), func(t *testing.T) {
			base, config := openEncoder(t, c.base), headConfig(t, c.method, c.objective)
			_, classes := headRows(t, c.objective)
			s, err := trainHead(t, config, base, &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Plan.Activations != s.Peak.Activations {
				t.Errorf("planned %+v, measured %+v", s.Plan, s.Peak)
			}
			var got *models.Classes
			if c.method == "full" {
				m, source, err := models.Open(config.Output, models.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer source.Close()
				got = m.Config().Classes
			} else {
				folder, err := adapters.Open(config.Output)
				if err != nil {
					t.Fatal(err)
				}
				a, err := adapters.Load(base.Model, folder)
				if err != nil {
					t.Fatal(err)
				}
				got = a.Classes()
			}
			if fmt.Sprint(got.Names) != fmt.Sprint(classes) || got.Problem != objectives[c.objective].Problem || got.Task != objectives[c.objective].Task {
				t.Errorf("its classes are %+v, want %v", got, classes)
			}
		})
	}
}

// TestEncodersGenerateNothing: what a base cannot learn is refused by name.
func TestEncodersGenerateNothing(t *testing.T) {
	c := headConfig(t, "lora", generates)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); !errors.Is(err, models.ErrTask) {
		t.Error(err)
	}
	c = headConfig(t, "lora", classifies)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert-masked"), &quiet{}); !errors.Is(err, models.ErrTask) || !strings.Contains(err.Error(), "pooler") {
		t.Error(err)
	}
}
