package training

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiverged: what was good when a run diverges is saved, and what was there
// before is written over with nothing bad.
func TestDiverged(t *testing.T) {
	for method, rate := range map[string]float64{"lora": 1e30, "full": 1e18} {
		wild := func() Config { // the first step has a rate of zero
			c := tinyConfig(t, method)
			c.LR, c.Clip = 2*rate, 0
			return c
		}
		c := wild()
		c.MaxSteps = 1
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		want := saved(t, c.Output)

		c = wild()
		c.SaveEvery = 1
		ends(t, c, "llama-gqa", &quiet{}, ErrDiverged, "Saved in "+c.Output+": the parameters of step 1, where the training loss was lowest")
		if !bytes.Equal(saved(t, c.Output), want) {
			t.Errorf("%s: other parameters are saved", method)
		}
		unchanged(t, c.Output, func() { refused(t, "llama-gqa", c, "has not come to its end") })

		c = wild()
		c.Split, c.EvalEvery, c.Best = 0.3, 1, true
		ends(t, c, "llama-gqa", &quiet{}, ErrDiverged, "Saved in "+c.Output+": the parameters of step 1, which validated best")
		readme, err := os.ReadFile(filepath.Join(c.Output, "README.md"))
		if err != nil || !strings.Contains(string(readme), "The run diverged after step 2. These are the parameters of step 1") {
			t.Errorf("%s (%v)", readme, err)
		}

		c = wild()
		c.Split, c.EvalEvery = 0.3, 1
		ends(t, c, "llama-gqa", &quiet{}, ErrDiverged, "of step 1, which validated best")

		c = wild()
		c.MaxSteps = 2 // whose result nobody has looked at
		ends(t, c, "llama-gqa", &quiet{}, ErrDiverged, "of step 1, where the training loss was lowest")
		if !bytes.Equal(saved(t, c.Output), want) {
			t.Errorf("%s: other parameters are saved", method)
		}

		c = wild()
		c.Warmup = 0 // the first step breaks it
		ends(t, c, "llama-gqa", &quiet{}, ErrDiverged, "Nothing is saved in "+c.Output+": the parameters of the first step compute nothing finite")
		if name := firstOf(c.Output, results); name != "" {
			t.Errorf("%s is saved", name)
		}

		c = tinyConfig(t, method)
		c.MaxSteps = 1
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		over := wild()
		over.Warmup = 0
		over.Output, over.Overwrite = c.Output, true
		good := saved(t, c.Output)
		ends(t, over, "llama-gqa", &quiet{}, ErrDiverged, "Nothing is saved")
		if !bytes.Equal(saved(t, c.Output), good) {
			t.Errorf("%s: a good result is gone", method)
		}
	}
}

// burst lets a run go wild after a step.
type burst struct {
	quiet
	after   int
	trainer *Trainer
	notes   []string
}

func (b *burst) Note(format string, a ...any) { b.notes = append(b.notes, fmt.Sprintf(format, a...)) }

func (b *burst) Step(r StepReport) {
	if r.Step == b.after {
		b.trainer.Rate = 1e30
	}
}

// wild trains with a rate of 1e30 after a step, and returns the fault.
func (b *burst) wild(t *testing.T, c Config) error {
	t.Helper()
	r, err := NewRun(c, openTiny(t, "llama-gqa"), b)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b.trainer = r.Trainer; b.after == 0 {
		b.trainer.Rate = 1e30
	}
	_, err = r.Do(t.Context())
	return err
}

// TestDivergedLate: whatever is trained, a run that nobody has told to keep
// anything leaves what it had at the last look at the training loss, as the run
// that ends there would.
func TestDivergedLate(t *testing.T) {
	for _, method := range []string{"lora", "full", "lisa", "block-wise", "galore"} {
		c := tinyConfig(t, method)
		c.Schedule, c.Warmup, c.MaxSteps, c.BatchSize, c.LR = "constant", 0, 8, 17, 1e-3
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		if firstOf(c.Output, []string{bestCheckpoint}) != "" {
			t.Errorf("%s: a finished run keeps what it does not need", method)
		}
		want := saved(t, c.Output)
		c.MaxSteps, c.Output = 40, filepath.Join(t.TempDir(), "out")
		fault := (&burst{after: 10}).wild(t, c)
		if !errors.Is(fault, ErrDiverged) || !strings.Contains(fault.Error(), "of step 8, where the training loss was lowest") {
			t.Errorf("%s: %v", method, fault)
			continue
		}
		if !bytes.Equal(saved(t, c.Output), want) {
			t.Errorf("%s: other parameters than step 8's are saved", method)
		}
		if m, err := readMark(c.Output); err != nil || m.State != diverged {
			t.Errorf("%s: %+v (%v)", method, m, err)
		}
	}
}

// TestDivergedAfterResuming: of a resumed run that has nothing better the
// checkpoint is saved that it began with, and one that cannot be read is named.
func TestDivergedAfterResuming(t *testing.T) {
	c := tinyConfig(t, "full")
	c.MaxSteps = 30
	ends(t, c, "llama-gqa", &quiet{stopAt: 5}, ErrInterrupted, "at step 5 of 30")
	best := filepath.Join(c.Output, bestCheckpoint)
	whole, err := os.ReadFile(best)
	if err != nil {
		t.Fatal(err)
	}
	c.Resume.On = true
	if err := os.WriteFile(best, whole[:10], 0o644); err != nil {
		t.Fatal(err)
	}
	if fault := (&burst{}).wild(t, c); !errors.Is(fault, ErrDiverged) || !strings.Contains(fault.Error(), best+" is damaged") {
		t.Errorf("%v", fault)
	}
	if err := os.Remove(best); err != nil {
		t.Fatal(err)
	}
	if fault := (&burst{}).wild(t, c); !errors.Is(fault, ErrDiverged) || !strings.Contains(fault.Error(), "of step 5, the last checkpoint's") {
		t.Errorf("%v", fault)
	}
}

// TestNoRoomForTheBest: what nobody has asked to keep ends no run.
func TestNoRoomForTheBest(t *testing.T) {
	b := &burst{}
	full := &fs.PathError{Op: "write", Path: "best", Err: syscall.ENOSPC}
	r := &Run{observer: b}
	if err := r.spareRoom(7, func() error { return full }); err != nil || len(b.notes) != 1 || !strings.Contains(b.notes[0], "step 7") {
		t.Errorf("%v, %q", err, b.notes)
	}
	if err := r.spareRoom(7, func() error { return fs.ErrPermission }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
}
