package training

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// key is what the bits of a run depend on: a checkpoint of other settings is
// not gone on from. Where the run writes to, how often it validates and how
// many threads it has change nothing.
func (r *Run) key() string {
	c := r.Config
	c.Output, c.Resume, c.Publish, c.PublishName, c.InitAdapter = "", Resume{}, "", "", ""
	c.EvalEvery, c.SaveEvery, c.Best, c.Patience, c.Threads, c.MemoryLimit, c.Samples = 0, 0, false, 0, 0, 0, 0
	c.Checkpointing, c.Base, c.Data, c.Validation = false, "", nil, nil
	b, err := json.Marshal(struct {
		Config
		Steps, Records, Tokens int
	}{c, r.steps, r.train.Len(), r.train.Report().Tokens})
	if err != nil {
		panic(err) // plain values
	}
	return string(b)
}

func (r *Run) checkpoint(name string) error {
	at := r.at
	at.Key = r.key()
	var o Optimizer
	if name == lastCheckpoint {
		o = r.Trainer.Optimizer
	}
	return writeCheckpoint(filepath.Join(r.Output, name), allParameters(r.Trainer.Method), o, at)
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
		return err
	}
	if c.Key != r.key() {
		return fmt.Errorf("--resume: %s was written under other settings or data:\n  then %s\n  now  %s", c.path, c.Key, r.key())
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
		if err := asStored(r.Base.Path, since); err != nil {
			return err
		}
	}
	r.Trainer.Method.Updated()
	return nil
}
