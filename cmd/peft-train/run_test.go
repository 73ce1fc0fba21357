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
