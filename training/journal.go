package training

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// StepReport is one line of metrics.jsonl: a step, a validation after it, or
// that the run goes on after it with more steps than it was to have.
type StepReport struct {
	Step       int                `json:"step"` // steps done
	Epoch      float64            `json:"epoch"`
	Loss       float64            `json:"loss,omitempty"`
	Rates      map[string]float64 `json:"learning_rates,omitempty"`
	Norm       float64            `json:"grad_norm,omitempty"`
	Tokens     int                `json:"tokens,omitempty"`
	Speed      float64            `json:"tokens_per_second,omitempty"`
	Bytes      *Account           `json:"bytes,omitempty"`
	Blocks     []int              `json:"active_blocks,omitempty"`
	Validation Scores             `json:"validation,omitempty"`
	Extended   *Extension         `json:"extended,omitempty"`
}

// Extension is the number of steps that a run was to have, and that it has from
// here on: its schedule is that of the longer run.
type Extension struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// journal writes metrics.jsonl and TensorBoard's events. What a resumed run writes follows what came
// before the checkpoint: lines of later steps are dropped.
type journal struct {
	f      disk.File
	events *events
}

// sync puts what has been written on the disk.
func (j *journal) sync() error {
	if j == nil {
		return nil
	}
	return errors.Join(j.f.Sync(), j.events.f.Sync())
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return errors.Join(j.f.Close(), j.events.f.Close())
}

func openJournal(path string, step int) (*journal, error) {
	var kept []byte
	if step > 0 {
		old, err := os.Open(path)
		if err == nil {
			kept, err = until(old, step)
			err = errors.Join(err, old.Close())
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if err := disk.Write(path, kept); err != nil {
		return nil, err
	}
	f, err := disk.Append(path)
	if err != nil {
		return nil, err
	}
	e, err := openEvents(filepath.Dir(path), step)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{f, e}, nil
}

// until returns the lines of steps up to one.
func until(r io.Reader, step int) ([]byte, error) {
	var kept []byte
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var at StepReport
		if err := json.Unmarshal(lines.Bytes(), &at); err != nil || at.Step > step {
			break // a line that was cut off, and what follows
		}
		kept = append(append(kept, lines.Bytes()...), '\n')
	}
	return kept, lines.Err()
}

// write does all or nothing.
func (j *journal) write(r StepReport) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	undo, err := j.undo()
	if err != nil {
		return err
	}
	_, err = j.f.Write(append(b, '\n'))
	if err == nil && r.Extended == nil {
		err = j.events.write(r)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("metrics: %w", err), undo())
	}
	return nil
}

// undo returns what cuts off the writes that follow.
func (j *journal) undo() (func() error, error) {
	lines, err := j.f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	events, err := j.events.f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return func() error {
		err := errors.Join(j.f.Truncate(lines), j.events.f.Truncate(events))
		_, sought := j.events.f.Seek(events, io.SeekStart)
		return errors.Join(err, sought)
	}, nil
}

// readJournal reads a metrics.jsonl back, for the report.
func readJournal(path string) ([]StepReport, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []StepReport
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r StepReport
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, lines.Err()
}
