package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/training"
)

// What all cells share. Nothing is cut: a text is computed as the server computes it.
const (
	batchSize = 16
	warmup    = 0.06
	cellsDir  = "glue"
)

// setting is what a cell depends on: one with another is made anew.
type setting struct {
	By     string  `json:"by"` // peft-train, or PyTorch and PEFT
	Method string  `json:"method"`
	Task   string  `json:"task"`
	Base   string  `json:"base"`
	Tokens int     `json:"tokens"` // asked for
	Steps  int     `json:"steps"`
	Batch  int     `json:"batch"`
	Rate   float64 `json:"learning_rate"`
	Seed   uint64  `json:"seed"`
}

// cell is one number of the table and what it cost.
type cell struct {
	setting
	Parameters int                `json:"parameters"`        // trained, the head's among them
	Scores     map[string]float64 `json:"scores"`            // on the rows to validate on
	Score      float64            `json:"score"`             // GLUE's
	Seen       int                `json:"seen"`              // tokens
	Peak       int64              `json:"peak_bytes"`        // of the process
	Seconds    float64            `json:"seconds"`           // of the process
	Processor  float64            `json:"processor_seconds"` // of all its threads, which other work beside it changes little
	Threads    int                `json:"threads"`
	On         string             `json:"on"` // the processor's name
}

// The values of By.
const (
	ours   = "peft-train"
	theirs = "PyTorch and PEFT"
)

// path is the file of a cell.
func (b *bench) path(s setting) string {
	name := strings.ToLower(s.Method + "-" + s.Task)
	if s.By == theirs {
		name = "peft-" + name
	}
	return filepath.Join(b.results, cellsDir, name+".json")
}

// finished is the cell of a setting, if it is there.
func (b *bench) finished(s setting) (*cell, error) {
	text, err := os.ReadFile(b.path(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &cell{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", b.path(s), err)
	}
	if c.setting != s || c.Processor == 0 { // 0: of before the time of the processors was told
		return nil, nil
	}
	return c, nil
}

// keep writes a cell.
func (b *bench) keep(c *cell) error {
	if err := disk.MkdirAll(filepath.Dir(b.path(c.setting))); err != nil {
		return err
	}
	c.On = processor.Name()
	text, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = disk.Write(b.path(c.setting), append(text, '\n'))
	}
	if err == nil {
		fmt.Fprintf(b.out, "%s: %.4f, %d parameters, %d MiB, %.1f processor minutes\n", b.path(c.setting), c.Score, c.Parameters, c.Peak>>20, c.Processor/60)
	}
	return err
}

// cells trains those that are not there.
func (b *bench) cells(ctx context.Context) error {
	for _, task := range b.tasks {
		rows, err := b.open(task)
		if err != nil {
			return err
		}
		for _, m := range b.chosen() {
			if err := b.cell(ctx, m, rows); err != nil {
				return fmt.Errorf("%s on %s: %w", m.name, task, errors.Join(err, rows.close()))
			}
		}
		if err := rows.close(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) setting(by string, m method, rows *rows) setting {
	return setting{
		By: by, Method: m.name, Task: rows.name, Base: filepath.Base(b.base), Tokens: b.tokens, Steps: rows.steps(b.tokens),
		Batch: batchSize, Rate: m.rate, Seed: b.seed,
	}
}

func (b *bench) cell(ctx context.Context, m method, rows *rows) error {
	c := &cell{setting: b.setting(ours, m, rows), Threads: cmp.Or(b.threads, runtime.NumCPU())}
	dir := b.made(m, rows.name)
	done, err := b.finished(c.setting)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); done != nil && err == nil {
		return nil
	}
	args := append([]string{
		"run", "--base", b.base, "--task", rows.task.Name, "--data", rows.dir, "--method", cmp.Or(m.trains, m.name), "--output", dir, "--overwrite", "--max-length", "0",
		"--batch-size", strconv.Itoa(batchSize), "--max-steps", strconv.Itoa(c.Steps), "--warmup-ratio", fmt.Sprint(warmup), "--lr", fmt.Sprint(m.rate),
		"--seed", strconv.FormatUint(b.seed, 10), "--threads", strconv.Itoa(b.threads), "--samples", "0",
	}, m.flags...)
	said, err := b.run(ctx, c, args)
	if err != nil {
		return err
	}
	if c.Scores, c.Seen, err = journal(filepath.Join(dir, "metrics.jsonl")); err != nil {
		return err
	}
	c.Score = rows.task.Score(c.Scores)
	if c.Parameters, err = trained(said); err != nil {
		return err
	}
	return b.keep(c)
}

// run trains a cell, which is not there from then on until it is kept: the run replaces
// what another was measured on.
func (b *bench) run(ctx context.Context, c *cell, args []string) (said string, err error) {
	if err := disk.Remove(b.path(c.setting)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var out bytes.Buffer
	command := exec.CommandContext(ctx, b.train, args...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.Stdout, command.Stderr = &out, os.Stderr
	start := time.Now()
	if err := command.Run(); err != nil {
		return "", err
	}
	c.took(start, command.ProcessState)
	c.Peak = peak(command.ProcessState)
	return out.String(), nil
}

// took sets the times of a process that has ended.
func (c *cell) took(start time.Time, p *os.ProcessState) {
	c.Seconds = time.Since(start).Seconds()
	c.Processor = (p.UserTime() + p.SystemTime()).Seconds()
}

// peak is the most memory that a process had at a time.
func peak(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

var trainedLine = regexp.MustCompile(`(\d+) parameters trained in`)

// trained is the number of parameters that a run says it has trained.
func trained(said string) (int, error) {
	n := trainedLine.FindStringSubmatch(said)
	if n == nil {
		return 0, fmt.Errorf("the run does not say what it has trained:\n%s", said)
	}
	return strconv.Atoi(n[1])
}

// journal reads the last validation of a run, and the tokens that it has seen.
func journal(path string) (scores map[string]float64, tokens int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r training.StepReport
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", path, err)
		}
		tokens += r.Tokens
		if r.Validation != nil {
			scores = r.Validation
		}
	}
	if scores == nil {
		return nil, 0, fmt.Errorf("%s: there is no validation", path)
	}
	return scores, tokens, lines.Err()
}
