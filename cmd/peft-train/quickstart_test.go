package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
)

// quickstartServer is a server that wants a key, and notes what it is asked.
func quickstartServer(t *testing.T, base string) (url string, asked func() string) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		lines = append(lines, r.Method+" "+r.URL.String())
		mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "Bearer the-key":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/version":
			fmt.Fprintf(w, `{"base":%q}`, base)
		case r.URL.Path == "/v1/generate" && !strings.Contains(string(body), `"Input: `):
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/v1/generate":
			fmt.Fprint(w, `{"generated_text":" billing"}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
}

// quickstart are the arguments of a short one.
func quickstart(t *testing.T, url string) (args []string, output string) {
	t.Helper()
	output = filepath.Join(t.TempDir(), "quickstart")
	return []string{"quickstart", "--server", url, "--output", output, "--max-steps", "1", "--threads", "1"}, output
}

// TestQuickstart: an adapter is trained, shown, published and asked.
func TestQuickstart(t *testing.T) {
	url, asked := quickstartServer(t, "gutenberg")
	t.Setenv("PEFT_SERVE_API_KEY", "the-key")
	args, output := quickstart(t, url)
	code, out, notes := command(t, args...)
	if code != 0 {
		t.Fatalf("%d: %s%s", code, out, notes)
	}
	for _, want := range []string{"before", "after", "right of 100", "published as tickets at " + url, `-H "Authorization: Bearer $PEFT_SERVE_API_KEY"`, `" billing"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if got := asked(); got != "GET /version\nGET /v1/adapters\nPUT /v1/adapters/tickets\nPOST /v1/generate?adapter=tickets" {
		t.Errorf("the server was asked\n%s", got)
	}
	folder, err := adapters.Open(filepath.Join(output, "tickets"))
	if err != nil || folder.Config.Base != "gutenberg" {
		t.Errorf("%v, of %q", err, folder.Config.Base)
	}
	code, _, notes = command(t, args...)
	if code != 1 || !strings.Contains(notes, "holds a finished run, of 1 steps: --resume shows and publishes its adapter, --overwrite trains another") || strings.Contains(notes, "--epochs") || strings.Contains(notes, "no adapter") {
		t.Errorf("what is there is written over, or advice is wrong: %d: %s", code, notes)
	}
	succeeds(t, "published as tickets", append(args, "--resume")...)
	if code, _, notes := command(t, append(replaced(args, "--max-steps", "2"), "--resume")...); code != 1 || !strings.Contains(notes, "--max-steps: ") {
		t.Errorf("%d: %s", code, notes)
	}
	if code, _, notes := command(t, append(args, "--overwrite", "--resume")...); code != 2 || !strings.Contains(notes, "--overwrite: goes without --resume") {
		t.Errorf("%d: %s", code, notes)
	}
	succeeds(t, "published as tickets", append(args, "--overwrite")...)
}

// stopper stops a command when it writes a text.
type stopper struct {
	strings.Builder
	at   string
	stop context.CancelFunc
}

func (s *stopper) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.at) {
		s.stop()
	}
	return s.Builder.Write(b)
}

// TestQuickstartGoesOn: one that was interrupted, in training or after it, says how to go
// on, and does.
func TestQuickstartGoesOn(t *testing.T) {
	url, _ := quickstartServer(t, "gutenberg")
	t.Setenv("PEFT_SERVE_API_KEY", "the-key")
	args, _ := quickstart(t, url)
	for _, at := range []string{"plan:", "method      "} {
		ctx, stop := context.WithCancel(t.Context())
		notes := &stopper{at: at, stop: stop}
		if code := run(ctx, args, console{out: io.Discard, err: notes}); code == 0 {
			t.Fatalf("%s: it was not interrupted: %s", at, notes.String())
		}
		stop()
		if got := notes.String(); !strings.Contains(got, "peft-train quickstart: interrupted: the same command with --resume goes on") || strings.Contains(got, "no adapter") {
			t.Errorf("%s: %s", at, got)
		}
		if at == "plan:" {
			if code, _, notes := command(t, args...); code != 1 || !strings.Contains(notes, "--resume goes on with it, --overwrite begins anew") {
				t.Errorf("%d: %s", code, notes)
			}
			args = append(args, "--resume")
		}
	}
	succeeds(t, "published as tickets", args...)
}

// TestQuickstartAlone: without a server the adapter is saved, and one is told how
// to serve it.
func TestQuickstartAlone(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	args, output := quickstart(t, s.URL)
	code, out, notes := command(t, args...)
	if code != 0 || !strings.Contains(out, "right of 100") || !strings.Contains(notes, "no server answers at "+s.URL) || !strings.Contains(notes, "peft-serve --adapters "+output) {
		t.Errorf("%d: %s%s", code, out, notes)
	}
	if _, err := os.Stat(filepath.Join(output, "tickets", adapters.SafeFile)); err != nil {
		t.Error(err)
	}
}

// TestQuickstartFaults: what is in the way is told before anything is trained.
func TestQuickstartFaults(t *testing.T) {
	url, _ := quickstartServer(t, "gutenberg")
	args, output := quickstart(t, url)
	for want, c := range map[string]struct {
		args []string
		code int
	}{
		"its key is read from PEFT_SERVE_API_KEY":   {args, 1},
		"is no peft-serve":                          {replaced(args, "--server", notPeftServe(t)), 1},
		"--max-steps: 0":                            {replaced(args, "--max-steps", "0"), 2},
		`--name: "../x" is no name`:                 {append(args, "--name", "../x"), 2},
		`--server: "localhost:8080" is not the URL`: {replaced(args, "--server", "localhost:8080"), 2},
	} {
		if code, _, notes := command(t, c.args...); code != c.code || !strings.Contains(notes, want) {
			t.Errorf("%d: no %q in %s", code, want, notes)
		}
	}
	if _, err := os.Stat(output); err == nil {
		t.Error("something was written")
	}
	t.Setenv("PEFT_SERVE_API_KEY", "the-key")
	other, _ := quickstartServer(t, "smollm2")
	if _, _, notes := command(t, replaced(args, "--server", other)...); !strings.Contains(notes, "serves smollm2. If that is another base") {
		t.Error(notes)
	}
}

// TestQuickstartSpares: a file of somebody else's stays.
func TestQuickstartSpares(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	args, output := quickstart(t, s.URL)
	own := filepath.Join(output, "tickets.jsonl")
	if err := os.MkdirAll(output, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, notes := command(t, args...); code != 1 || !strings.Contains(notes, own+" is there and is no quickstart's") {
		t.Errorf("%d: %s", code, notes)
	}
	if text, err := os.ReadFile(own); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

// replaced are arguments with another value of a flag.
func replaced(args []string, flag, value string) []string {
	args = slices.Clone(args)
	args[slices.Index(args, flag)+1] = value
	return args
}

func notPeftServe(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(s.Close)
	return s.URL
}

// TestTickets: they are the same each time, and what is held out is about other
// things.
func TestTickets(t *testing.T) {
	a, b := tickets(500, 1, false), tickets(500, 1, false)
	learnt := map[string]bool{}
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("they differ")
		}
		learnt[a[i].Prompt] = true
	}
	labels := map[string]bool{}
	for _, x := range tickets(500, 2, true) {
		labels[x.Completion] = true
		for _, thing := range things[:len(things)/2] {
			if strings.Contains(x.Prompt, " "+thing) {
				t.Errorf("%q is about a %s, which is learnt", x.Prompt, thing)
			}
		}
		if strings.Contains(x.Prompt, "THING") || strings.Contains(x.Prompt, "DAY") {
			t.Error(x.Prompt)
		}
	}
	if len(labels) != len(departments) {
		t.Errorf("there are %v", labels)
	}
}
