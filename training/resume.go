package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// dependsOn is what the bits of a run depend on, as JSON: a checkpoint of other
// settings is not gone on from. Where the run writes to, how often it validates
// and how many threads it has change nothing.
func (r *Run) dependsOn() string {
	c := r.Config
	c.Output, c.Resume, c.Publish, c.PublishName, c.InitAdapter = "", Resume{}, "", "", ""
	c.EvalEvery, c.SaveEvery, c.Best, c.Patience, c.Threads, c.MemoryLimit, c.Samples = 0, 0, false, 0, 0, 0, 0
	c.Checkpointing, c.Base, c.Data, c.Validation = false, "", nil, nil
	b, err := json.Marshal(struct {
		Config
		Steps, Records, Tokens              int
		DataDigest, BaseDigest, StartDigest string
	}{c, r.steps, r.train.Len(), r.train.Report().Tokens, r.train.Report().Digest, r.Base.digest(), startDigest(r.Trainer.Method)})
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
	"Steps": "steps (of --max-steps, --epochs and --batch-size)", "Records": "--data: sequences", "Tokens": "--data: tokens",
	"DataDigest": "--data: contents", "BaseDigest": "--base: weights", "StartDigest": "--init-adapter: contents",
}

// changes lists what differs between the settings of a checkpoint and those of
// now, a line each; what the checkpoint does not know is let pass.
func changes(then, now string) (lines []string, err error) {
	var was, is map[string]any
	if err := errors.Join(json.Unmarshal([]byte(then), &was), json.Unmarshal([]byte(now), &is)); err != nil {
		return nil, err
	}
	names := maps.Clone(spoken)
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			if f := t.Field(i); f.Anonymous {
				walk(f.Type)
			} else {
				names[f.Name] = "--" + flagName(f)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	for key, value := range is {
		if old, ok := was[key]; ok && !reflect.DeepEqual(old, value) {
			lines = append(lines, fmt.Sprintf("%s: was %v, is %v", names[key], old, value))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

func (r *Run) checkpoint(ctx context.Context, name string) error {
	at := r.at
	at.Key = r.settings
	var o Optimizer
	if name == lastCheckpoint {
		o = r.Trainer.Optimizer
	}
	return r.withRoom(ctx, func() error {
		return writeCheckpoint(filepath.Join(r.Output, name), allParameters(r.Trainer.Method), o, at)
	})
}

// allParameters lists also those that are frozen now.
func allParameters(m Method) []*Parameter {
	b, ok := m.(*Blocks)
	if !ok {
		return m.Parameters()
	}
	return b.base.all()
}

// resume goes on from the last checkpoint where one is asked for.
func (r *Run) resume() error {
	if !r.Config.Resume.On {
		if _, err := os.Stat(filepath.Join(r.Output, lastCheckpoint)); err == nil && r.Output != "" {
			r.observer.Note("%s has the checkpoint of a run that did not end: without --resume this one begins anew", r.Output)
		}
		return nil
	}
	dir := r.Output
	if r.Config.Resume.Dir != "" {
		dir = r.Config.Resume.Dir
	}
	c, err := readCheckpoint(filepath.Join(dir, lastCheckpoint))
	if errors.Is(err, fs.ErrNotExist) && r.Config.Resume.Dir == "" {
		r.observer.Note("there is no checkpoint in %s: training from the start", dir)
		return nil
	}
	if err != nil {
		return fmt.Errorf("--resume: %w", err)
	}
	changed, err := changes(c.Key, r.settings)
	if err != nil {
		return fmt.Errorf("--resume: %s: %w", c.path, err)
	}
	if len(changed) > 0 {
		return fmt.Errorf("--resume: %s was written under other settings:\n  %s", c.path, strings.Join(changed, "\n  "))
	}
	if err := r.bring(dir, c); err != nil {
		return fmt.Errorf("--resume: %w", err)
	}
	// The blocks of the step that was reached are opened first, as they were.
	r.Trainer.Step = c.Step
	if c.Step > 0 {
		r.Trainer.Method.Begin(c.Step - 1)
	}
	if err := c.restore(allParameters(r.Trainer.Method), r.Trainer.Optimizer, r.opener()); err != nil {
		return err
	}
	r.Trainer.Method.Updated()
	r.at = c.Progress
	r.observer.Note("resumed at step %d", c.Step)
	return nil
}

// bring copies from another folder what the checkpoint there goes with: the
// metrics so far and the best parameters.
func (r *Run) bring(dir string, c *checkpoint) error {
	if r.Output == "" || filepath.Clean(dir) == filepath.Clean(r.Output) {
		return nil
	}
	names := []string{"metrics.jsonl"}
	if r.Best && c.BestAt > 0 {
		names = append(names, bestCheckpoint)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = atomically(filepath.Join(r.Output, name), func(w io.Writer) error { _, err := w.Write(b); return err })
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

// restoreBest sets the parameters to those that validated best.
func (r *Run) restoreBest() error {
	c, err := readCheckpoint(filepath.Join(r.Output, bestCheckpoint))
	if err != nil {
		return err
	}
	params := allParameters(r.Trainer.Method)
	if err := c.restore(params, nil, r.opener()); err != nil {
		return err
	}
	var since []*Parameter // trained since then alone
	for _, p := range params {
		if _, ok := c.file.Lookup("value/" + p.Name); !ok && p.Value != nil {
			since = append(since, p)
		}
	}
	if len(since) > 0 {
		if err := asStored(r.Base, since); err != nil {
			return err
		}
	}
	r.Trainer.Method.Updated()
	return nil
}
