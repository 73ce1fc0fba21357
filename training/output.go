package training

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
)

// An output folder is one of these, and this is what a run does to it:
//
//	empty       not there, or without any file that a run writes: a run begins
//	finished    its mark says so: refused without --overwrite; --resume trains
//	            on where --epochs or --max-steps asks for more steps, else says
//	            that it is finished
//	unfinished  its mark says running or diverged, or it has a checkpoint:
//	            --resume goes on; without it a checkpoint or a result of before
//	            is only written over with --overwrite
//	foreign     no mark and no checkpoint, but files of the names that a run
//	            writes: somebody else's, refused without --overwrite
//
// A refusal changes nothing in the folder. With --overwrite the checkpoints go
// when training begins, and the result when there is another.

// States of a run, as its mark has them.
const (
	running  = "running"
	finished = "finished"
	diverged = "diverged"
)

// mark is adapters.RunMark, by which a run's folder is known.
type mark struct {
	State  string `json:"state"`
	Method string `json:"method"`
	Step   int    `json:"step"`  // reached; of a running one, where it began
	Steps  int    `json:"steps"` // to take
	Digest string `json:"digest,omitempty"`
}

// readMark returns the mark of a folder, an empty one where it has none.
func readMark(dir string) (m mark, err error) {
	path := filepath.Join(dir, adapters.RunMark)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case err == nil:
		err = json.Unmarshal(b, &m)
	}
	if err == nil && !slices.Contains([]string{running, finished, diverged}, m.State) {
		err = fmt.Errorf("state %q is not known", m.State)
	}
	if err != nil {
		return m, fmt.Errorf("--output: %s says what became of a run, and cannot be read: %w", path, err)
	}
	return m, nil
}

// Outcome is what became of the run whose folder it is.
type Outcome struct {
	Finished bool
	Steps    int // that it was to take; 0: no run has been there
}

// OutcomeOf reads it.
func OutcomeOf(dir string) (Outcome, error) {
	m, err := readMark(dir)
	return Outcome{m.State == finished, m.Steps}, err
}

// mark says what has become of the run.
func (r *Run) mark(state, digest string) error {
	b, err := json.MarshalIndent(mark{state, r.Method, r.at.Step, r.steps, digest}, "", "  ")
	if err != nil {
		return err
	}
	if err := r.metrics.sync(); err != nil {
		return err
	}
	return disk.Write(filepath.Join(r.Output, adapters.RunMark), append(b, '\n'))
}

// results are the files in which an adapter or a model lies.
var results = []string{adapters.ConfigFile, adapters.SafeFile, adapters.TorchFile, "config.json", modelFile}

// written are the other files of a run that somebody else may have too.
var written = []string{"README.md", "report.html", "metrics.jsonl", "modules.json"}

// writable is a file that is only there to see whether it can be.
const writable = "writable"

// firstOf is the first of names that is in a folder, or "".
func firstOf(dir string, names []string) string {
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return name
		}
	}
	return ""
}

// checkOutput refuses, before anything is written, a folder that is the
// base's, that holds a result of the other kind, which readers would mix up,
// or that holds what the run would write over. Then it makes the folder and
// sees that it can be written to.
func (r *Run) checkOutput() error {
	if r.Output == "" {
		return nil
	}
	own, err := os.Stat(r.Output)
	if err == nil {
		if base, err := os.Stat(r.Base.Path); err == nil && os.SameFile(own, base) {
			return fmt.Errorf("--output: %s is the base's folder", r.Output)
		}
		if !own.IsDir() {
			return fmt.Errorf("--output: %s is no folder", r.Output)
		}
	}
	other, what := adapters.ConfigFile, "an adapter"
	if _, ok := wholes[r.Method]; !ok {
		if other, what = "config.json", "a model"; adapters.NamesClasses(r.Output) {
			other = modelFile
		}
	}
	if firstOf(r.Output, []string{other}) != "" {
		return fmt.Errorf("--output: %s holds %s (%s), and --method %s writes the other kind: choose another folder", r.Output, what, other, r.Method)
	}
	if r.was, err = readMark(r.Output); err != nil {
		return err
	}
	if !r.Overwrite {
		if err := r.spareOthers(); err != nil {
			return err
		}
	}
	return r.makeOutput()
}

// goesOnHere reports whether the run goes on from its own folder.
func (r *Run) goesOnHere() bool {
	dir := r.Config.Resume.Dir
	return r.Config.Resume.On && (dir == "" || filepath.Clean(dir) == filepath.Clean(r.Output))
}

// spareOthers refuses a folder that holds what the run would write over.
func (r *Run) spareOthers() error {
	checkpoint := firstOf(r.Output, []string{lastCheckpoint})
	result := firstOf(r.Output, results)
	foreign := result
	if foreign == "" {
		foreign = firstOf(r.Output, written)
	}
	known := r.was.State != "" || checkpoint != ""
	switch {
	case r.goesOnHere() && (known || foreign == ""):
		return nil
	case r.was.State == finished:
		return fmt.Errorf("--output: %s holds a finished run, of %d steps: choose another folder, or --overwrite replaces it, or --resume with more --epochs or --max-steps trains it on", r.Output, r.was.Step)
	case known && (checkpoint != "" || result != ""):
		return fmt.Errorf("--output: %s holds a run that has not come to its end: --resume goes on with it, --overwrite begins anew", r.Output)
	case !known && foreign != "":
		return fmt.Errorf("--output: %s has a file %s that is of no run of peft-train: choose another folder, or --overwrite replaces what is there", r.Output, foreign)
	}
	return nil
}

// makeOutput makes the folder, and remembers which folders were not there.
func (r *Run) makeOutput() error {
	for dir := filepath.Clean(r.Output); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		r.made = append(r.made, dir)
	}
	if err := disk.MkdirAll(r.Output); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	f, path, err := disk.CreateTemp(r.Output, "."+writable+".*")
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return errors.Join(f.Close(), disk.Remove(path))
}

// unmake removes the folders that were made for a run that has not begun.
func (r *Run) unmake() {
	for _, dir := range r.made {
		if disk.Remove(dir) != nil {
			return // somebody has put something there
		}
	}
}

// begin marks the folder and clears away what the run replaces: checkpoints
// that it does not go on from, and what a process that was killed while it
// wrote has left.
func (r *Run) begin() error {
	r.made = nil
	if r.Output == "" {
		return nil
	}
	if !r.goesOnHere() {
		if err := r.drop(lastCheckpoint, bestCheckpoint); err != nil {
			return err
		}
	}
	names := slices.Concat(results, written, companions, []string{lastCheckpoint, bestCheckpoint, adapters.RunMark, writable})
	return errors.Join(disk.Sweep(r.Output, names...), r.mark(running, ""))
}

// drop removes files of the output folder.
func (r *Run) drop(names ...string) error {
	for _, name := range names {
		if err := disk.Remove(filepath.Join(r.Output, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
