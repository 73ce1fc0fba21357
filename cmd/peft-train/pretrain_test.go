package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFromTextToModel: the commands that make a base of a text, one after the
// other, and the one that measures it.
func TestFromTextToModel(t *testing.T) {
	dir := t.TempDir()
	text, tokens, model := filepath.Join(dir, "text.txt"), filepath.Join(dir, "tokenizer"), filepath.Join(dir, "model")
	verse := "The owl and the pussy-cat went to sea in a beautiful pea-green boat.\n\n"
	if err := os.WriteFile(text, []byte(strings.Repeat(verse, 20)), 0o644); err != nil {
		t.Fatal(err)
	}
	template := filepath.Join(dir, "chat.jinja")
	if err := os.WriteFile(template, []byte("{{ messages[0].content }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	learn := []string{"tokenizer", text, "--vocabulary", "280", "--chat-template", template, "--output", tokens}
	succeeds(t, "280 pieces", learn...)
	if code, _, notes := command(t, learn...); code != 2 || !strings.Contains(notes, "holds a tokenizer") {
		t.Errorf("a tokenizer is written over: %d: %s", code, notes)
	}
	succeeds(t, "280 pieces", append(learn, "--overwrite")...)

	recipe := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(recipe, []byte("layers: 1\nhidden-size: 16\nintermediate_size: 16\nheads: 2\nkv-heads: 1\ncontext: 32\nmax-steps: 2\nbatch-size: 2\ndata: ["+text+"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := succeeds(t, "full: 6064 parameters trained in 2 steps", "pretrain", recipe, "--tokenizer", tokens, "--output", model, "--validation-split", "0.2")
	if !strings.Contains(out, "bits_per_byte") {
		t.Errorf("no bits per byte in\n%s", out)
	}
	file := filepath.Join(dir, "model.gguf")
	succeeds(t, "(bf16): 11 tensors, 6,064 parameters", "export", model, file, "--dtype", "bf16") // as the folder has them: AMX multiplies each format in its own way
	if code, _, notes := command(t, "export", model, file); code != 1 || !strings.Contains(notes, "--overwrite") {
		t.Errorf("a file is written over: %d: %s", code, notes)
	}
	scores := succeeds(t, "bits_per_byte", "eval", "--base", file, "--data", text, "--format", "documents", "--json")
	if other := succeeds(t, "bits_per_byte", "eval", "--base", model, "--data", text, "--format", "documents", "--json"); other != scores {
		t.Errorf("the file scores %s, the folder %s", scores, other)
	}
}

// TestPretrainFaults: one look shows everything that is wrong, by name.
func TestPretrainFaults(t *testing.T) {
	recipe := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(recipe, []byte("layerz: 3\nlayers: [1]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, notes := command(t, "pretrain", recipe, "--heads", "x", "--lr", "-1")
	for _, want := range []string{"layerz: no such setting", "--layers: [1] is a list", `--heads: "x" is not a whole number`, "--lr: -1", "\n  --tokenizer: is missing", "\n  --data: is missing", "\n  --output: is missing"} {
		if code != 2 || !strings.Contains(notes, want) {
			t.Errorf("%d: no %q in\n%s", code, want, notes)
		}
	}
	broken := filepath.Join(t.TempDir(), "broken.jinja")
	if err := os.WriteFile(broken, []byte("{% if %}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"--chat-template: " + broken: {"tokenizer", recipe, "--chat-template", broken, "--output", t.TempDir()},
		"--packing: goes without":    {"run", "--base", "b", "--data", "d.txt", "--output", "o", "--format", "books", "--packing"},
		`expected "<text> ..."`:      {"tokenizer"},
		"no such file":               {"tokenizer", "nowhere.txt", "--output", t.TempDir()},
		`eos_token: "x" is none`:     {"tokenizer", "nowhere.txt", "--eos", "x", "--output", t.TempDir()},
	} {
		if code, _, notes := command(t, args...); code == 0 || !strings.Contains(notes, want) {
			t.Errorf("%v: %d: %s", args, code, notes)
		}
	}
}

// TestPretrainRecipe: the recipe of the committed base is understood, but for
// what the command line adds.
func TestPretrainRecipe(t *testing.T) {
	code, _, notes := command(t, "pretrain", "../../examples/base/pretrain.yaml", "--tokenizer", "/nowhere", "--output", t.TempDir())
	if code != 1 || !strings.Contains(notes, "--tokenizer: tokenizer: stat /nowhere") {
		t.Errorf("%d: %s", code, notes)
	}
}
