package main

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/runtime"
)

// TestModes runs each mode in a short form, on a fixed seed.
func TestModes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"hostile -root ../.. -n 300 -requests 200 -seed 7", `^300 hostile: refused \d\d+, served \d\d+, crashed 0, unnamed 0, slow 0, large 0, wrong 0;[^\n]*\n200 hostile requests: refused \d\d+, answered \d\d+, crashed 0, unnamed 0, slow 0, large 0, wrong 0;`},
		{"mixed -root ../.. -n 4000 -seed 7", `^4000 mixed: differing 0, .* combined [1-9].* kept to a grammar [1-9].* encoded [1-9].* scored by heads [1-9].* left [1-9].* preemptions [1-9].* cached tokens [1-9].* shared rows [1-9]`},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), strings.Fields(c.args), &out); err != nil {
				t.Errorf("%v", err)
			}
			if !regexp.MustCompile(c.want).MatchString(out.String()) {
				t.Errorf("%s\nwant %s", out.String(), c.want)
			}
		})
	}
}

// TestSoakBriefly: whatever is done to a server, it lives and does not fail
// inside. Whether it grows shows in the long form alone.
func TestSoakBriefly(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the server")
	}
	sites, err := soakOptions{root: "../..", clients: 4}.prepare(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		if err := s.use(t.Context(), 2*time.Second); err != nil {
			t.Error(err)
		}
		if err := s.server.stop(); err != nil || s.failed.Load() > 0 || s.done.Load() == 0 {
			t.Errorf("%s: %d operations, of %d the server failed inside: %v", s.name, s.done.Load(), s.failed.Load(), err)
		}
	}
}

func TestUnknownMode(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}} {
		err := run(t.Context(), args, nil)
		if err == nil {
			t.Fatalf("%q is a mode", args)
		}
		for known := range modes {
			if !strings.Contains(err.Error(), known) {
				t.Errorf("%q: %q does not name %s", args, err, known)
			}
		}
	}
}

// TestSame: a bit of a log-probability, a token and an error tell answers apart.
func TestSame(t *testing.T) {
	one := func() answer {
		nan := runtime.Logprob{Token: 3, Logprob: float32(math.NaN())}
		return answer{tokens: []int32{3}, logprobs: []runtime.Logprob{{Token: 3, Logprob: 1}}, prompt: []runtime.PromptToken{{Logprob: nan}}, text: "a", encoded: []kernels.Matrix{kernels.MatrixOf(1, 2, []float32{1, -0.5})}}
	}
	if !one().same(one()) {
		t.Error("an answer differs from itself")
	}
	for name, change := range map[string]func(*answer){
		"bit":    func(a *answer) { a.logprobs[0].Logprob = math.Float32frombits(math.Float32bits(1) + 1) },
		"token":  func(a *answer) { a.tokens[0]++ },
		"prompt": func(a *answer) { a.prompt[0].Token++ },
		"text":   func(a *answer) { a.text = "b" },
		"row":    func(a *answer) { a.encoded[0].Row(0)[1] = math.Float32frombits(math.Float32bits(-0.5) + 1) },
		"width":  func(a *answer) { a.encoded[0] = kernels.MatrixOf(2, 1, a.encoded[0].Data) },
		"finish": func(a *answer) { a.finish = runtime.FinishStop },
		"error":  func(a *answer) { a.err = errors.New("x") },
	} {
		other := one()
		if change(&other); one().same(other) {
			t.Errorf("another %s is the same", name)
		}
	}
}

// TestNames: an error without a file, a key or a tensor is told apart.
func TestNames(t *testing.T) {
	for text, want := range map[string]bool{
		"unexpected EOF":                          false,
		"/tmp/m1: unexpected end of JSON input":   false,
		"/tmp/m1/config.json: unexpected EOF":     true,
		"adapter configuration: lora_alpha is 7":  true,
		"the model computed a value not finite":   false,
		"model.norm.weight holds a NaN":           true,
		"adapter \"mutant\": /tmp/m1: not a file": false,
	} {
		if names(errors.New(text), "/tmp/m1", nil) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}
