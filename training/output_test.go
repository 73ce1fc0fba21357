package training

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
)

// contents are the files under a folder.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged runs f, which must change nothing in a folder.
func unchanged(t testing.TB, dir string, f func()) {
	t.Helper()
	before := contents(t, dir)
	f()
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Errorf("the folder has changed: was %q, is %q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

// ends trains and demands an error.
func ends(t testing.TB, c Config, base string, q *quiet, want error, text string) {
	t.Helper()
	if _, err := train(t, c, base, q); err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want %v: %q", err, want, text)
	}
}

// TestFinishedOutput: a finished run is refused, said to be finished, or begun
// anew, by what the flags say.
func TestFinishedOutput(t *testing.T) {
	for _, method := range []string{"lora", "full"} {
		c := tinyConfig(t, method)
		c.MaxSteps = 2
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		first := saved(t, c.Output)
		unchanged(t, c.Output, func() {
			refused(t, "llama-gqa", c, "holds a finished run, of 2 steps")
			again := c
			again.Resume.On = true
			ends(t, again, "llama-gqa", &quiet{}, ErrFinished, "is at step 2 of 2")
			again.MaxSteps = 3
			ends(t, again, "llama-gqa", &quiet{}, nil, "was not told to --keep-checkpoint")
			other := tinyConfig(t, method)
			other.Output, other.Resume = c.Output, Resume{On: true, Dir: t.TempDir()}
			refused(t, "llama-gqa", other, "holds a finished run")
		})
		c.Overwrite, c.Seed = true, 4
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(saved(t, c.Output), first) {
			t.Errorf("%s: --overwrite has changed nothing", method)
		}
		c.Resume.On = true
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--overwrite: goes without --resume") {
			t.Error(err)
		}
	}
}

// TestUnfinishedOutput: a checkpoint is gone on from or, if that is what the
// flags say, done away with; a run that has left nothing is begun anew.
func TestUnfinishedOutput(t *testing.T) {
	c := tinyConfig(t, "lora")
	ends(t, c, "llama-gqa", &quiet{stopAt: 2}, ErrInterrupted, "at step 2 of 12: go on with --resume")
	unchanged(t, c.Output, func() { refused(t, "llama-gqa", c, "holds a run that has not come to its end: --resume") })
	over := c
	over.Overwrite = true
	ends(t, over, "llama-gqa", &quiet{stopAt: 1}, ErrInterrupted, "at step 1")
	if err := os.Remove(filepath.Join(c.Output, lastCheckpoint)); err != nil {
		t.Fatal(err)
	}
	if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(c.Output, adapters.RunMark), []byte(`{"state": "asleep"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	unchanged(t, c.Output, func() {
		refused(t, "llama-gqa", c, `peft-train.json says what became of a run, and cannot be read: state "asleep" is not known`)
	})
}

// TestForeignOutput: what no run has written is nobody's to write over.
func TestForeignOutput(t *testing.T) {
	for _, name := range []string{adapters.ConfigFile, adapters.SafeFile, adapters.TorchFile, "README.md", "metrics.jsonl"} {
		c := tinyConfig(t, "lora")
		if err := os.MkdirAll(c.Output, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Output, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		unchanged(t, c.Output, func() {
			refused(t, "llama-gqa", c, "has a file "+name+" that is of no run of peft-train")
			again := c
			again.Resume.On = true
			refused(t, "llama-gqa", again, "of no run of peft-train")
		})
		c.Overwrite, c.MaxSteps = true, 1
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusalsLeaveNoFolder: a run that does not begin has made nothing.
func TestRefusalsLeaveNoFolder(t *testing.T) {
	c := tinyConfig(t, "lora")
	parent := filepath.Dir(c.Output)
	c.Output = filepath.Join(c.Output, "a", "b")
	c.Data = []string{filepath.Join(t.TempDir(), "absent.jsonl")}
	unchanged(t, parent, func() { refused(t, "llama-gqa", c, "absent.jsonl") })
	c = tinyConfig(t, "lora")
	c.Output, c.Resume = filepath.Join(parent, "a", "b"), Resume{On: true, Dir: t.TempDir()}
	ends(t, c, "llama-gqa", &quiet{}, fs.ErrNotExist, "--resume: ")
	c.Resume, c.MemoryLimit = Resume{}, 1
	r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Plan()); err == nil {
		t.Error("a byte is enough")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

// TestGrownRuns: a run may be given more steps when it is resumed, before its
// end or after it. Under a constant rate it is then the run that had them from
// the start, to the bit; under another the rates are the longer run's from the
// step that was reached, and the journal tells where that was.
func TestGrownRuns(t *testing.T) {
	for _, method := range []string{"lora", "lisa"} {
		c := tinyConfig(t, method)
		c.Schedule, c.MaxSteps, c.Split, c.EvalEvery, c.Best = "constant", 9, 0.3, 2, true
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		want := saved(t, c.Output)
		for _, stopAt := range []int{3, 99} {
			c.Output, c.Resume, c.MaxSteps, c.KeepCheckpoint = filepath.Join(t.TempDir(), "out"), Resume{}, 5, true
			if _, err := train(t, c, "llama-gqa", &quiet{stopAt: stopAt}); err != nil && !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			c.Resume.On, c.MaxSteps = true, 9
			if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(saved(t, c.Output), want) {
				t.Errorf("%s, stopped at %d of 5 and resumed to 9: the result has other bits", method, stopAt)
			}
		}
	}
	c := tinyConfig(t, "lora")
	c.MaxSteps, c.Epochs = 0, 1 // five steps
	ends(t, c, "llama-gqa", &quiet{stopAt: 3}, ErrInterrupted, "at step 3 of 5")
	c.Resume.On, c.Epochs = true, 2
	q := &quiet{}
	if _, err := train(t, c, "llama-gqa", q); err != nil {
		t.Fatal(err)
	}
	longer := Schedule{Kind: c.Schedule, Warmup: c.Warmup, Steps: 10}
	for i, s := range q.steps {
		for _, rate := range s.Rates {
			if want := c.LR * longer.Factor(3+i); rate != want {
				t.Errorf("step %d: rate %v, want %v", s.Step, rate, want)
			}
		}
	}
	lines, err := readJournal(filepath.Join(c.Output, "metrics.jsonl"))
	if err != nil || len(lines) != 11 || lines[3].Extended == nil || *lines[3].Extended != (Extension{5, 10}) || lines[3].Step != 3 {
		t.Errorf("%d lines (%v): %+v", len(lines), err, lines)
	}
}
