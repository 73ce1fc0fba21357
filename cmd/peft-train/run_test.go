package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/modeltest"
)

// asCommand is set where this binary is to be peft-train.
const asCommand = "PEFT_TRAIN_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// tinyRun writes a base with a tokenizer and a few examples, and returns the
// arguments of a run on them.
func tinyRun(t testing.TB) (args []string, output string) {
	t.Helper()
	dir := t.TempDir()
	for _, from := range []string{
		modeltest.Goldens(t, "llama", "config.json"), modeltest.Goldens(t, "llama", "model.safetensors"),
		"../../serve/testdata/tokenizer.json", "../../serve/testdata/tokenizer_config.json",
	} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(from)), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var rows strings.Builder
	for i := range 5 {
		fmt.Fprintf(&rows, "{\"prompt\": \"what is %d?\", \"completion\": \"it is %s\"}\n", i, strings.Repeat("x", i+1))
	}
	data := filepath.Join(dir, "train.jsonl")
	if err := os.WriteFile(data, []byte(rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	output = filepath.Join(t.TempDir(), "out")
	return []string{"run", "--base", dir, "--data", data, "--output", output, "--batch-size", "2", "--threads", "1", "--samples", "0"}, output
}

// TestRunAgain: the commands that somebody gives one after the other.
func TestRunAgain(t *testing.T) {
	args, output := tinyRun(t)
	succeeds(t, "in 3 steps", args...)
	if code, _, notes := command(t, args...); code != 1 || !strings.Contains(notes, "holds a finished run, of 3 steps") {
		t.Errorf("%d: %s", code, notes)
	}
	if code, out, notes := command(t, append(args, "--resume")...); code != 0 || out != "" || !strings.Contains(notes, "the run is finished: "+output+" is at step 3 of 3") {
		t.Errorf("%d: %s%s", code, out, notes)
	}
	succeeds(t, "in 6 steps", append(args, "--resume", "--epochs", "2")...)
	succeeds(t, "in 3 steps", append(args, "--overwrite", "--no-keep-checkpoint")...)
	if code, _, notes := command(t, append(args, "--overwrite", "--resume")...); code != 2 || !strings.Contains(notes, "--overwrite: goes without --resume") {
		t.Errorf("%d: %s", code, notes)
	}
}

// TestNoModules: an adapter of --modules-to-save alone, by the command line and by a
// recipe, planned and trained.
func TestNoModules(t *testing.T) {
	recipe := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(recipe, []byte("target_modules: dummy-target-modules\nmodules_to_save: [model.norm]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, settings := range [][]string{{"--target-modules", "dummy-target-modules", "--modules-to-save", "model.norm"}, {recipe}} {
		args, output := tinyRun(t)
		if len(settings) == 1 {
			args = append([]string{"run", recipe}, args[1:]...)
		} else {
			args = append(args, settings...)
			succeeds(t, " trained, ", append([]string{"plan", "--base", args[2]}, settings...)...)
		}
		succeeds(t, "lora: ", args...)
		config, err := os.ReadFile(filepath.Join(output, "adapter_config.json"))
		if err != nil || !strings.Contains(string(config), `"target_modules": "dummy-target-modules"`) {
			t.Errorf("%v: %s", err, config)
		}
	}
	args, _ := tinyRun(t)
	if code, _, notes := command(t, append(args, "--target-modules", "dummy-target-modules")...); code != 1 || !strings.Contains(notes, "modules_to_save names no module either") {
		t.Errorf("%d: %s", code, notes)
	}
}

// TestEvalBuiltIn: an adapter that is built in is measured, and a URI where a folder is
// wanted is said to be one.
func TestEvalBuiltIn(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := writeTickets(rows, tickets(2, 1, false), false); err != nil {
		t.Fatal(err)
	}
	eval := func(adapter string) []string {
		return []string{"eval", "--base", "builtin://base", "--data", rows, "--threads", "1", "--adapter", adapter}
	}
	for column, want := range map[string]string{"": "", "kind": "without effect: --label-column (no such column is read: read are "} {
		_, out, notes := command(t, append(eval("builtin://sort"), "--label-column", column)...)
		if !strings.Contains(out, "loss") || !strings.Contains(notes, want) || want == "" && strings.Contains(notes, "without effect") {
			t.Errorf("--label-column %q: %s%s", column, out, notes)
		}
	}
	if code, _, notes := command(t, eval("builtin://none")...); code != 1 || !strings.Contains(notes, "--adapter: builtin://none: there is no such adapter") {
		t.Errorf("%d: %s", code, notes)
	}
	for _, args := range [][]string{eval("hf://a/b"), {"inspect", "builtin://sort"}, {"merge", "--base", "builtin://base", "--adapter", "builtin://sort", "--output", filepath.Join(t.TempDir(), "out")}} {
		if code, _, notes := command(t, args...); code == 0 || !strings.Contains(notes, "is a URI, and an adapter is read from a folder here") {
			t.Errorf("%v: %d: %s", args, code, notes)
		}
	}
}

// TestHelpNamesValues: a help text that says what values there are has them.
func TestHelpNamesValues(t *testing.T) {
	for _, name := range []string{"run", "eval", "plan", "pretrain", "quickstart"} {
		_, out, _ := command(t, name, "--help")
		if strings.Contains(out, ": ;") || strings.Contains(out, "${") {
			t.Errorf("%s: a list of values is empty:\n%s", name, out)
		}
	}
	_, out, _ := command(t, "run", "--help")
	if out = strings.Join(strings.Fields(out), " "); !strings.Contains(out, "What is learnt: generate, classify, multi-label, regress, tag, contrastive;") {
		t.Error(out)
	}
}

// TestPlanTellsIdleSettings: plan notes what run would.
func TestPlanTellsIdleSettings(t *testing.T) {
	if _, _, notes := command(t, "plan", "--base", "llama-7b", "--method", "full", "--top-layers", "2", "--target-modules", "q_proj"); !strings.Contains(notes, "without effect: --target-modules, --top-layers (with --method full)") {
		t.Error(notes)
	}
	if _, _, notes := command(t, "plan", "--base", "llama-7b", "--target-modules", "q_proj"); strings.Contains(notes, "without effect") {
		t.Error(notes)
	}
}

// TestPlanTakesTheRecipe: a plan of embeddings says how they are made, and has no longer
// texts than they are made of.
func TestPlanTakesTheRecipe(t *testing.T) {
	args := []string{"plan", "--objective", "contrastive", "--max-length", "23", "--target-modules", "query", "--base"}
	_, out, notes := command(t, append(args, modeltest.Goldens(t, "sentences", "mean"))...)
	if !strings.Contains(out, "Memory of 8 × 20 tokens") || notes != "embeddings: mean, normalised (modules.json)\n--max-length: 20 tokens, the most that the base makes an embedding of (model_max_length in its tokenizer_config.json)\n" {
		t.Error(out, notes)
	}
	if _, _, notes := command(t, append(args, modeltest.Goldens(t, "encoders", "bert"))...); notes != "embeddings: mean\n" {
		t.Error(notes)
	}
}
