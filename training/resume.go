package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// changeable are the settings that may be other than in the checkpoint that a
// run goes on from, and why; all others must be as they were, and so must the
// base's weights, the data's contents and those of --init-adapter, wherever
// they lie now.
//
//	--max-steps, --epochs     may grow: the schedule is then that of the longer
//	                          run from the step that was reached
//	--output, --resume, --overwrite, --publish, --publish-name, --base-name,
//	--keep-checkpoint, --samples
//	                          say where things go and what is told of them
//	--eval-every, --validation, --keep-best, --patience, --save-every
//	                          say when a run is measured, kept and ended
//	--threads, --gradient-checkpointing, --memory-limit
//	                          change no bit
//	--base, --data, --init-adapter
//	                          are compared by contents
var changeable = []string{
	"MaxSteps", "Epochs",
	"Output", "Resume", "Overwrite", "Publish", "PublishName", "BaseName", "KeepCheckpoint", "Samples",
	"EvalEvery", "Validation", "Best", "Patience", "SaveEvery",
	"Threads", "Checkpointing", "MemoryLimit",
	"Base", "Data", "InitAdapter",
}

// dependsOn is what the bits of a run depend on, as JSON.
func (r *Run) dependsOn() string {
	c := r.Config
	for _, name := range changeable {
		reflect.ValueOf(&c).Elem().FieldByName(name).SetZero()
	}
	var shape *Shape
	base := ""
	if r.Base.begun != nil { // its first values follow from these and the seed
		shape = &r.Base.begun.Shape
	} else {
		base = r.Base.digest()
	}
	b, err := json.Marshal(struct {
		Config
		Shape                               *Shape
		Records, Tokens                     int
		DataDigest, BaseDigest, StartDigest string
	}{c, shape, r.train.Len(), r.train.Report().Tokens, r.train.Report().Digest, base, startDigest(r.Trainer.Method)})
	if err != nil {
		panic(err) // plain values
	}
	return string(b)
}

// startDigest is that of the adapter that a run goes on from, if it does.
func startDigest(m Method) string {
	if a, ok := m.(*Adapted); ok {
		return a.Trainee.Digest()
	}
	return ""
}

// spoken are the names of what is no flag by itself.
var spoken = map[string]string{
	"Records": "--data: sequences", "Tokens": "--data: tokens",
	"DataDigest": "--data: contents", "BaseDigest": "--base: weights", "StartDigest": "--init-adapter: contents",
}

// changes lists what differs between the settings of a checkpoint and those of
// now, a line each; what the checkpoint does not know is let pass.
func changes(then, now string) (lines []string, err error) {
	var was, is map[string]any
	if err := errors.Join(json.Unmarshal([]byte(then), &was), json.Unmarshal([]byte(now), &is)); err != nil {
		return nil, err
	}
	flags := flagNames(reflect.TypeFor[Config](), reflect.TypeFor[Shape]())
	flatten(was)
	flatten(is)
	for key, value := range is {
		if old, ok := was[key]; ok && !slices.Contains(changeable, key) && !reflect.DeepEqual(old, value) {
			name := spoken[key]
			if name == "" {
				name = flags[key]
			}
			lines = append(lines, fmt.Sprintf("%s: was %v, is %v", name, old, value))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// flatten puts the settings of a shape among the others.
func flatten(settings map[string]any) {
	shape, _ := settings["Shape"].(map[string]any)
	for key, value := range shape {
		settings["Shape."+key] = value
	}
	delete(settings, "Shape")
}

// flagNames are the flags of structs of settings by the names of their fields,
// of a Shape with its name before them. Where two have one name, the first is
// meant, as in JSON.
func flagNames(of ...reflect.Type) map[string]string {
	names := map[string]string{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			key := f.Name
			if t == reflect.TypeFor[Shape]() {
				key = "Shape." + key
			}
			if f.Anonymous {
				walk(f.Type)
			} else if names[key] == "" {
				names[key] = "--" + flagName(f)
			}
		}
	}
	for _, t := range of {
		walk(t)
	}
	return names
}

// compatible reports, all at once, what keeps the run from going on from c.
func (r *Run) compatible(c *checkpoint) error {
	lines, err := changes(c.Key, r.settings)
	if err != nil {
		return fmt.Errorf("--resume: %s: %w", c.path, err)
	}
	if was := max(c.Steps, c.Step); r.steps < was {
		lines = append(lines, fmt.Sprintf("steps (of --max-steps, or --epochs and --batch-size): was %d, is %d: they may grow, not shrink", was, r.steps))
	}
	if len(lines) == 0 {
		return nil
	}
	settings := reflect.TypeFor[Config]()
	if r.Base.begun != nil {
		settings = reflect.TypeFor[Pretraining]()
	}
	flags, free := flagNames(settings), []string{}
	for _, name := range changeable {
		if flag, ok := flags[name]; ok {
			free = append(free, flag)
		}
	}
	return fmt.Errorf("--resume: %s was written under other settings:\n  %s\nThese may change: %s", c.path, strings.Join(lines, "\n  "), strings.Join(free, ", "))
}

// checkpoint writes the parameters, and what going on from them takes. One that
// computes nothing finite is not written over one that did.
func (r *Run) checkpoint(ctx context.Context, name string) error {
	at := r.at
	at.Key, at.Steps, at.Now = r.settings, r.steps, r.now
	var o Optimizer
	if name == bestCheckpoint {
		at.KeptAt, at.KeptTrend = at.Step, at.Trend
	} else {
		o = r.Trainer.Optimizer
		at.SavedAt = at.Step
		if err := r.sound(); err != nil {
			return err
		}
	}
	write := func() error {
		if err := r.metrics.sync(); err != nil { // they go as far as the checkpoint
			return err
		}
		err := writeCheckpoint(filepath.Join(r.Output, name), allParameters(r.Trainer.Method), o, at)
		if err == nil {
			r.at.SavedAt, r.at.KeptAt, r.at.KeptTrend = at.SavedAt, at.KeptAt, at.KeptTrend
		}
		return err
	}
	if name == bestCheckpoint && !r.Best { // nobody has asked for it
		return r.spareRoom(at.Step, write)
	}
	return r.withRoom(ctx, write)
}

// allParameters lists also those that are frozen now.
func allParameters(m Method) []*Parameter {
	b, ok := m.(*Blocks)
	if !ok {
		return m.Parameters()
	}
	return b.base.all()
}

// last finds the checkpoint that the run is to go on from and sees that it can;
// nil: the run begins anew. Nothing is changed.
func (r *Run) last() (*checkpoint, error) {
	if !r.Config.Resume.On {
		return nil, nil
	}
	dir := r.Output
	if r.Config.Resume.Dir != "" {
		dir = r.Config.Resume.Dir
	}
	c, err := readCheckpoint(filepath.Join(dir, lastCheckpoint))
	here := r.goesOnHere()
	switch {
	case errors.Is(err, fs.ErrNotExist) && here && r.was.State == finished:
		return nil, r.finished(r.was.Step, r.was.Steps)
	case errors.Is(err, fs.ErrNotExist) && here:
		r.observer.Note("there is no checkpoint in %s: training from the start", dir)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("--resume: %w", err)
	}
	if err := r.compatible(c); err != nil {
		return nil, err
	}
	r.at = c.Progress
	if here && r.was.State == finished && (r.at.Step >= r.steps || r.stalled()) {
		return nil, r.finished(r.at.Step, r.steps)
	}
	return c, nil
}

// finished says that there is nothing to go on with, or nothing to go on from.
func (r *Run) finished(step, steps int) error {
	if r.steps > steps {
		return fmt.Errorf("--resume: the run in %s is finished, at step %d, and was not told to --keep-checkpoint: it cannot be trained on to step %d; --init-adapter, or the model as --base, begins a new run with what it has learned", r.Output, step, r.steps)
	}
	if step < steps {
		return fmt.Errorf("%w: %s stopped early at step %d of %d; a larger --patience trains on, --overwrite begins anew", ErrFinished, r.Output, step, steps)
	}
	return fmt.Errorf("%w: %s is at step %d of %d; more --epochs or --max-steps train on, --overwrite begins anew", ErrFinished, r.Output, step, steps)
}

// resume sets everything as it was at the checkpoint.
func (r *Run) resume(c *checkpoint) error {
	if err := r.bring(filepath.Dir(c.path), c); err != nil {
		return fmt.Errorf("--resume: %w", err)
	}
	// The blocks of the step that was reached are opened first, as they were.
	r.at.SavedAt, r.Trainer.Step = c.Step, c.Step
	if c.Step > 0 {
		r.Trainer.Method.Begin(c.Step - 1)
	}
	if err := c.restore(allParameters(r.Trainer.Method), r.Trainer.Optimizer, r.opener()); err != nil {
		return err
	}
	r.Trainer.Method.Updated()
	r.observer.Note("resumed at step %d", c.Step)
	if r.grown(c) {
		r.observer.Note("the run has %d steps now, was %d: the learning rate follows the schedule of %d from step %d on", r.steps, c.Steps, r.steps, c.Step)
	}
	return nil
}

// grown reports whether the run is to take more steps than when the checkpoint
// was written.
func (r *Run) grown(c *checkpoint) bool { return c != nil && c.Steps > 0 && r.steps > c.Steps }

// stopClock fixes the date that chat templates are told: a run that goes on
// has the tokens that it began with. What is wrong with a checkpoint is told
// when it is gone on from.
func (r *Run) stopClock() {
	r.now = time.Now()
	if !r.Config.Resume.On {
		return
	}
	dir := r.Output
	if r.Config.Resume.Dir != "" {
		dir = r.Config.Resume.Dir
	}
	if p, err := progressIn(filepath.Join(dir, lastCheckpoint)); err == nil && !p.Now.IsZero() {
		r.now = p.Now.Local()
	}
}

// bring copies from another folder the checkpoint and what goes with it: the
// metrics so far and the best parameters.
func (r *Run) bring(dir string, c *checkpoint) error {
	kept := c.KeptAt > 0 && firstOf(dir, []string{bestCheckpoint}) != ""
	if !kept {
		r.at.KeptAt = 0
	}
	if r.Best && c.BestAt > 0 && r.at.KeptAt != c.BestAt {
		r.observer.Note("--keep-best: %s has not kept the parameters of step %d, which validated best: from here on they are kept", dir, c.BestAt)
		r.at.BestAt, r.at.Stalled = 0, 0
	}
	if r.Output == "" || filepath.Clean(dir) == filepath.Clean(r.Output) {
		return nil
	}
	names := []string{"metrics.jsonl"}
	if kept {
		names = append(names, bestCheckpoint)
	}
	for _, name := range append(names, lastCheckpoint) { // with which the folder can be gone on from
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = disk.Write(filepath.Join(r.Output, name), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// opener makes room for the values of a parameter that was trained and is
// frozen now.
func (r *Run) opener() func(p *Parameter) {
	return func(p *Parameter) {
		if b, ok := r.Trainer.Method.(*Blocks); ok {
			b.base.open(p)
		}
	}
}

// restoreFrom sets the parameters to those of a checkpoint, and those that were
// trained since then alone to the base's.
func (r *Run) restoreFrom(name string) (Progress, error) {
	c, err := readCheckpoint(filepath.Join(r.Output, name))
	if err != nil {
		return Progress{}, err
	}
	params := allParameters(r.Trainer.Method)
	if err := c.restore(params, nil, r.opener()); err != nil {
		return c.Progress, err
	}
	var since []*Parameter // trained since then alone
	for _, p := range params {
		if _, ok := c.file.Lookup("value/" + p.Name); !ok && p.Value != nil {
			since = append(since, p)
		}
	}
	if len(since) > 0 {
		if err := asStored(r.Base, since); err != nil {
			return c.Progress, err
		}
	}
	r.Trainer.Method.Updated()
	return c.Progress, nil
}
