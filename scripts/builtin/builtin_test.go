package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestMade: what is made here is the same each time, and nothing that is held out
// is learnt.
func TestMade(t *testing.T) {
	for _, task := range tasks {
		if task.name != "json" && task.name != "sort" {
			continue
		}
		learnt, held, err := task.rows(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, _, _ := task.rows(nil)
		seen := map[string]bool{}
		for i, r := range learnt {
			if r != again[i] {
				t.Fatalf("%s differs: %v, %v", task.name, r, again[i])
			}
			seen[r.Prompt] = true
		}
		for _, r := range held {
			if seen[r.Prompt] {
				t.Errorf("%q is learnt and held out", r.Prompt)
			}
		}
		if len(held) != 500 || len(learnt) < 10000 {
			t.Errorf("%s: %d learnt, %d held out", task.name, len(learnt), len(held))
		}
		for _, r := range append(learnt[:100:100], held...) {
			answer := strings.TrimPrefix(r.Completion, " ")
			if strings.Contains(r.Prompt+answer, "%!") || r.Prompt[:7] != "Input: " {
				t.Errorf("%+v", r)
			}
			if task.name == "json" && !json.Valid([]byte(answer)) {
				t.Errorf("%s is no JSON", answer)
			}
		}
	}
}

// TestWants: every label of the JSON is one of a small set, and none is rare.
func TestWants(t *testing.T) {
	learnt, _, err := wants(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range learnt {
		values := map[string]any{}
		if err := json.Unmarshal([]byte(r.Completion), &values); err != nil {
			t.Fatal(err)
		}
		for key, v := range values {
			seen[fmt.Sprint(key, "=", v)]++
		}
	}
	if len(seen) != 4+4+2 {
		t.Errorf("labels %v", seen)
	}
	for label, n := range seen {
		if n < len(learnt)/8 {
			t.Errorf("%s is in %d of %d rows", label, n, len(learnt))
		}
	}
}

// TestSpeeches: a speech is answered by the next one, in whole sentences.
func TestSpeeches(t *testing.T) {
	play := "A:\nWho is there?\n\nB:\nI. And you?\nSpeak\n\nA:\n" + strings.Repeat("long ", 40) + "end.\n\nB:\nSo be it.\n"
	learnt, held, err := speeches(func(string) ([]byte, error) { return []byte(play), nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != 0 || len(learnt) != 1 || learnt[0] != newRow("Who is there?", "I. And you?") {
		t.Errorf("%+v, %+v", learnt, held)
	}
}

// TestTheirs: the rows of files that others made, where those are at hand.
func TestTheirs(t *testing.T) {
	shared := modeltest.Shared(t)
	to := t.TempDir()
	var out bytes.Buffer
	if err := writeData(context.Background(), shared, to, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sst2: 67349 rows, and 872 held out", "e2e: 4672 rows, and 630 held out", "banking: 10003 rows, and 3073 held out"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, task := range tasks {
		for _, name := range []string{"train.jsonl", "test.jsonl"} {
			b, err := os.ReadFile(filepath.Join(to, "tasks", task.name, name))
			if err != nil {
				t.Fatal(err)
			}
			if shown, _ := json.Marshal(prompt(task.example)); bytes.Contains(b, shown) {
				t.Errorf("the example of %s is in %s", task.name, name)
			}
		}
	}
}

// TestFetch: what is not at hand is fetched, out of an archive too, and held to
// its sum.
func TestFetch(t *testing.T) {
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	member, err := z.Create("inner/rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(member, "rows"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/zip":
			_, _ = w.Write(archive.Bytes())
		case "/plain":
			_, _ = io.WriteString(w, "rows")
		case "/changed":
			_, _ = io.WriteString(w, "others")
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	sum := sha256.Sum256([]byte("rows"))
	for _, c := range []struct{ url, member, want string }{
		{"/plain", "", ""}, {"/zip", "inner/rows.txt", ""}, {"/zip", "rows.txt", "rows.txt"}, {"/plain", "rows.txt", "zip"},
		{"/changed", "", "its SHA-256 is"}, {"/nothing", "", "404"},
	} {
		to := t.TempDir()
		source := source{"a/rows.txt", s.URL + c.url, c.member, hex.EncodeToString(sum[:])}
		err := source.fetch(context.Background(), t.TempDir(), to, io.Discard)
		b, unread := os.ReadFile(filepath.Join(to, "a", "rows.txt"))
		switch {
		case c.want == "" && (err != nil || string(b) != "rows"):
			t.Errorf("%+v: %q, %v", c, b, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || unread == nil):
			t.Errorf("%+v: %v, and wrote %q", c, err, b)
		}
	}
}

// TestRecipes: every task has a recipe that says it is the task's.
func TestRecipes(t *testing.T) {
	for _, task := range tasks {
		b, err := os.ReadFile("../../examples/base/" + task.name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "data: [.base/tasks/"+task.name+"/train.jsonl]") {
			t.Errorf("the recipe of %s has other data", task.name)
		}
	}
}

// TestCards: a card says method, scores and terms.
func TestCards(t *testing.T) {
	m := &maker{work: t.TempDir()}
	if err := os.WriteFile(m.gguf(), make([]byte, 1_230_000), 0o600); err != nil {
		t.Fatal(err)
	}
	right := result{task: tasks[0], method: "lora", bytes: 786_432, alone: map[string]float64{"exact_match": 0, "loss": 5}, scores: map[string]float64{"exact_match": 0.8123, "loss": 0.5}}
	near := result{task: tasks[1], method: "houlsby", bytes: 1000, alone: map[string]float64{"perplexity": 50.5, "loss": 3.92}, scores: map[string]float64{"perplexity": 3.25, "loss": 1.18}}
	sorts := result{task: tasks[4], method: "lisa", alone: right.alone, scores: right.scores}
	all, err := m.card([]result{right, near, sorts})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"`base.gguf` (1.23 MB in Q8_0), and 3 adapters",
		"| [sst2](adapters/sst2/README.md) | tells whether a film review is positive or negative | lora | 0.79 MB | 0.0 % | 81.2 % |",
		"| houlsby | 0.00 MB | perplexity 50.50 | perplexity 3.25 |", "lisa, the whole model, extracted at rank 8", "- **e2e**: E2E NLG",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if own := right.card(); !strings.Contains(own, right.terms) || !strings.Contains(own, "81.2 %, loss 0.5000") || !strings.Contains(own, prompt(right.example)) {
		t.Error(own)
	}
}
