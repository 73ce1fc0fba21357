package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecipes demands that every committed recipe is understood: what is wrong
// with a run is only what the command line has to add.
func TestRecipes(t *testing.T) {
	recipes, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(recipes) == 0 {
		t.Fatalf("no recipes: %v", err)
	}
	for _, path := range recipes {
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
