package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/internal/disk"
)

// A maker makes the folder builtin/.
type maker struct {
	out                         io.Writer
	base, data, work, to, train string
	steps, limit                int
}

// result is what has come of a task.
type result struct {
	task
	method        string
	bytes         int64
	alone, scores map[string]float64 // of the base and of the adapter, on what was held out
}

// make trains and measures every adapter, and then puts base, adapters and cards
// in their places.
func (m *maker) make(ctx context.Context) error {
	if err := os.MkdirAll(m.work, 0o755); err != nil {
		return err
	}
	if err := m.command(ctx, m.out, "export", m.base, m.gguf(), "--dtype", "q8_0", "--name", builtin.Name, "--overwrite"); err != nil {
		return err
	}
	var results []result
	for _, t := range tasks {
		r, err := m.adapter(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		results = append(results, r)
	}
	return m.place(results)
}

// gguf is the base as it is built in.
func (m *maker) gguf() string { return filepath.Join(m.work, "base.gguf") }

// made is the folder of a task's adapter.
func (m *maker) made(t task) string {
	if t.rank > 0 {
		return filepath.Join(m.work, t.name+"-extracted")
	}
	return filepath.Join(m.work, t.name)
}

// adapter trains a task's adapter, unless that is done, and measures it.
func (m *maker) adapter(ctx context.Context, t task) (r result, err error) {
	rows, run, base := filepath.Join(m.data, "tasks", t.name), filepath.Join(m.work, t.name), m.gguf()
	if t.rank > 0 {
		base = m.base // the whole model that a run makes is a folder's
	}
	args := []string{"run", filepath.Join("examples", "base", t.name+".yaml"), "--base", base, "--data", filepath.Join(rows, "train.jsonl"), "--output", run, "--resume"}
	if m.steps > 0 {
		args = append(args, "--max-steps", fmt.Sprint(m.steps))
	}
	if err := m.command(ctx, m.out, args...); err != nil {
		return r, err
	}
	if t.rank > 0 {
		if err := os.RemoveAll(m.made(t)); err != nil {
			return r, err
		}
		if err := m.command(ctx, m.out, "extract", "--base", m.base, "--tuned", run, "--r", fmt.Sprint(t.rank), "--base-name", builtin.Name, "--output", m.made(t)); err != nil {
			return r, err
		}
	}
	r = result{task: t}
	if r.method, err = methodOf(run); err != nil {
		return r, err
	}
	if r.alone, err = m.scores(ctx, t, rows); err != nil {
		return r, err
	}
	r.scores, err = m.scores(ctx, t, rows, "--adapter", m.made(t))
	return r, err
}

// methodOf is what a run's folder says of it.
func methodOf(run string) (string, error) {
	b, err := os.ReadFile(filepath.Join(run, adapters.RunMark))
	if err != nil {
		return "", err
	}
	var mark struct{ Method string }
	err = json.Unmarshal(b, &mark)
	return mark.Method, err
}

// scores are what `peft-train eval` says of a task's rows that were held out.
func (m *maker) scores(ctx context.Context, t task, rows string, with ...string) (scores map[string]float64, err error) {
	args := append([]string{"eval", "--base", m.gguf(), "--data", filepath.Join(rows, "test.jsonl"), "--json"}, with...)
	if t.answer > 0 {
		args = append(args, "--exact-match", fmt.Sprint(t.answer))
	}
	if m.limit > 0 {
		args = append(args, "--limit", fmt.Sprint(m.limit))
	}
	var out bytes.Buffer
	if err := m.command(ctx, &out, args...); err != nil {
		return nil, err
	}
	err = json.Unmarshal(out.Bytes(), &scores)
	return scores, err
}

// command runs peft-train, and shows what it says.
func (m *maker) command(ctx context.Context, out io.Writer, args ...string) error {
	c := exec.CommandContext(ctx, m.train, args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // it writes a checkpoint
	c.Stdout, c.Stderr = out, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", m.train, args[0], err)
	}
	return nil
}

// place puts everything in its place, and takes away the adapters that are none of
// these, last: this program is not built without any.
func (m *maker) place(results []result) error {
	if err := copyFile(m.gguf(), filepath.Join(m.to, "base.gguf")); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(m.base, "README.md"), filepath.Join(m.to, "BASE.md")); err != nil {
		return err
	}
	for i, r := range results {
		dir := filepath.Join(m.to, "adapters", r.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, name := range []string{adapters.ConfigFile, adapters.SafeFile} {
			if err := copyFile(filepath.Join(m.made(r.task), name), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		stat, err := os.Stat(filepath.Join(dir, adapters.SafeFile))
		if err != nil {
			return err
		}
		results[i].bytes = stat.Size()
		for name, text := range map[string]string{builtin.ExampleFile: prompt(r.example) + "\n", "README.md": results[i].card()} {
			if err := disk.Write(filepath.Join(dir, name), []byte(text)); err != nil {
				return err
			}
		}
	}
	old, err := os.ReadDir(filepath.Join(m.to, "adapters"))
	if err != nil {
		return err
	}
	for _, d := range old {
		if slices.ContainsFunc(results, func(r result) bool { return r.name == d.Name() }) {
			continue
		}
		if err := disk.RemoveAll(filepath.Join(m.to, "adapters", d.Name())); err != nil {
			return err
		}
	}
	card, err := m.card(results)
	if err != nil {
		return err
	}
	return disk.Write(filepath.Join(m.to, "README.md"), []byte(card))
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return disk.Write(to, b)
}
