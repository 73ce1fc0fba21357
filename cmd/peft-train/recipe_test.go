package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/training"
)

// TestRecipes demands that every committed recipe is understood: what is wrong
// with a run is only what the command line has to add.
func TestRecipes(t *testing.T) {
	recipes, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(recipes) == 0 {
		t.Fatalf("no recipes: %v", err)
	}
	for _, path := range recipes {
		if filepath.Base(path) == "keys.yaml" { // peft-serve's
			continue
		}
		var out bytes.Buffer
		code := run(context.Background(), []string{"run", path, "--base", "/nowhere", "--data", "x.jsonl", "--output", t.TempDir()}, console{out: &out, err: &out})
		if code != 1 || !strings.Contains(out.String(), "/nowhere") {
			t.Errorf("%s: %d: %s", path, code, out.String())
		}
	}
}

// TestFaultsAtOnce demands that one look shows everything that is wrong.
func TestFaultsAtOnce(t *testing.T) {
	var out bytes.Buffer
	code := run(context.Background(), strings.Fields("run --method nope --r x --lr -1 --bogus 3 --memory-limit lots --task foo"), console{out: &out, err: &out})
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"--method:", "--r:", "--lr:", "--bogus", "--memory-limit:", "--task:", "--base: is missing", "--data: is missing", "--output: is missing"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not named in:\n%s", want, out.String())
		}
	}
}

// TestWhatIsTakenForARecipe: nothing that looks like one is passed over.
func TestWhatIsTakenForARecipe(t *testing.T) {
	for args, want := range map[string]string{
		"run recipe.txt --base b --data d --output o":                     "is no recipe",
		"run ../../examples/lisa.yaml x.yml --base b --data d --output o": "unexpected argument",
		"run --base b --data d --output ../../examples/lisa.yaml":         "was taken for a recipe",
		"run --base b --data d --output o --lr":                           "--lr: a value is missing",
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), console{out: &out, err: &out}); code != 2 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %d: %s\nwant %q", args, code, out.String(), want)
		}
	}
}

// TestFaultsOfARecipe: unknown keys and values that cannot be read are all
// shown at once, with what the command line lacks.
func TestFaultsOfARecipe(t *testing.T) {
	for content, wants := range map[string][]string{
		"base: x\nbogus: 1\nlrr: 2\npacking: maybe\nlr: [1, 2]\nmax-steps: many\n": {
			"bogus: no such setting", "lrr: no such setting", "--packing: \"maybe\" is neither", "--lr: ", "--max-steps: ", "--data: is missing",
		},
		"learning_rate: 1\nbatch_sizes: 3\nr: 1\n": {"learning_rate: no such setting; did you mean lr?", "batch_sizes: no such setting; did you mean batch-size?"},
		"lora-alpha: 3\nlora_alpha: 4\n":           {"lora_alpha is there as lora-alpha too"},
		"turns: [last]\nignore-columns: {a: b}\ntarget-modules: [[q_proj]]\nrank-pattern: [a]\nrank_pattern: {q_proj: [4]}\n": {
			"--turns: [last] is a list, want one value", "--ignore-columns: map[a:b] is a mapping", "--target-modules: [q_proj] is none of its values", "rank_pattern is there as rank-pattern too",
		},
		"alpha-pattern: {q_proj: null}\n": {"--alpha-pattern: <nil> is none of its values"},
		"lr: 1\nlr: 2\n":                  {"already defined"},
		"- a\n":                           {"want settings by name"},
	} {
		path := filepath.Join(t.TempDir(), "r.yaml")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if code := run(context.Background(), []string{"run", path}, console{out: &out, err: &out}); code != 2 {
			t.Errorf("%q: %d", content, code)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: %q is not in:\n%s", content, want, out.String())
			}
		}
	}
}

// parsed is what the arguments of run, and the recipe among them, come to.
func parsed(t *testing.T, args ...string) (training.Config, []*kong.Flag) {
	t.Helper()
	r, err := findRecipe(args)
	if err != nil {
		t.Fatal(err)
	}
	var all commands
	w := &wrongValues{}
	parser, err := kong.New(&all, append(w.mappers(), kong.Resolvers(r), kong.Vars(names()), kong.ExplicitGroups(groups))...)
	if err != nil {
		t.Fatal(err)
	}
	selected, err := parser.Parse(append(args, "--base=b", "--data=d", "--output=o"))
	if err := w.with(err); err != nil {
		t.Fatal(err)
	}
	return all.Run.Config, selected.Selected().Flags
}

// TestEverySetting: the recipe that explains every setting has them all, and
// says their defaults.
func TestEverySetting(t *testing.T) {
	const path = "../../examples/every-setting.yaml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, flags := parsed(t, "run")
	for _, f := range flags {
		if !regexp.MustCompile(`(?m)^(# )?` + f.Name + `: `).Match(text) {
			t.Errorf("%s is not in %s", f.Name, path)
		}
	}
	got, _ := parsed(t, "run", path)
	// An empty list and none are the same.
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
		t.Errorf("%s says\n%s\nthe defaults are\n%s", path, a, b)
	}
}

// TestSetOfARecipe: a value of --set is what the file says, of whatever kind.
func TestSetOfARecipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.yaml")
	const content = "set: {number: 0.2, tokens: [1, 2], none: null, object: {a: \"x;y=1\", b: [null]}, text: \"a;b\", flag: true}\n"
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	got, _ := parsed(t, "run", path)
	want := map[string]string{"number": "0.2", "tokens": "[1,2]", "none": "null", "object": `{"a":"x;y=1","b":[null]}`, "text": "a;b", "flag": "true"}
	if !maps.Equal(got.Set, want) {
		t.Errorf("got %v", got.Set)
	}
}

// TestTaskRecipes: the recipes of the adapters that are built in are understood,
// and train on the built-in base.
func TestTaskRecipes(t *testing.T) {
	recipes, err := filepath.Glob("../../examples/base/*.yaml")
	if err != nil || len(recipes) < 7 {
		t.Fatalf("%v, %v", recipes, err)
	}
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := writeTickets(rows, tickets(4, 1, false), false); err != nil {
		t.Fatal(err)
	}
	for _, recipe := range recipes {
		if filepath.Base(recipe) == "pretrain.yaml" {
			continue
		}
		output := filepath.Join(t.TempDir(), "out")
		succeeds(t, "trained in 1 steps", "run", recipe, "--base", "builtin://base", "--data", rows, "--output", output, "--max-steps", "1", "--batch-size", "1", "--warmup-steps", "0", "--samples", "0", "--threads", "1")
	}
}
