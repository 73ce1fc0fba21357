package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRecipe reads whatever a recipe holds. The base is not there, so that it
// comes to no run; what is wrong is told by the recipe, a setting or the base.
func FuzzRecipe(f *testing.F) {
	recipes, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(recipes) == 0 {
		f.Fatalf("no recipes: %v", err)
	}
	for _, path := range recipes {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"))
	f.Add([]byte("r: 1e999\nlr: [1]\nmethod: {a: b}\ntarget_modules: !!binary x\n? [a]\n: b\n"))
	dir := f.TempDir()
	path, output := filepath.Join(dir, "recipe.yaml"), filepath.Join(dir, "output")
	f.Fuzz(func(t *testing.T, recipe []byte) {
		if err := os.WriteFile(path, recipe, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := run(context.Background(), []string{"run", path, "--base", "/nowhere", "--data", "/nowhere.jsonl", "--output", output}, console{out: &out, err: &out})
		text := out.String()
		if code != 1 && code != 2 || !strings.Contains(text, path) && !strings.Contains(text, "--") && !strings.Contains(text, "/nowhere") {
			t.Errorf("exit code %d: %q", code, text)
		}
	})
}
