package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// peerScript trains by PyTorch and PEFT what it is given.
//
//go:embed peer.py
var peerScript string

// sequence is a text as tokens, with its label.
type sequence struct {
	Tokens []int32 `json:"tokens"`
	Types  []int32 `json:"types,omitempty"`
	Label  float64 `json:"label"`
}

// job is what the script is given: the trainer's own rows, in its order.
type job struct {
	Base    string       `json:"base"`
	Method  string       `json:"method"`
	Classes int          `json:"classes"` // 1: a value
	Rate    float64      `json:"learning_rate"`
	Warmup  int          `json:"warmup_steps"`
	Seed    uint64       `json:"seed"`
	Threads int          `json:"threads"`
	Batches [][]sequence `json:"batches"`
	Dev     []sequence   `json:"dev"`
}

// told is what the script answers.
type told struct {
	Scores     [][]float64 `json:"scores"`
	Parameters int         `json:"parameters"`
	Peak       int64       `json:"peak_bytes"`
	Threads    int         `json:"threads"`
}

// peers trains the cells that PyTorch and PEFT have too, those that are not there.
func (b *bench) peers(ctx context.Context) error {
	for _, task := range b.tasks {
		rows, err := b.open(task)
		if err != nil {
			return err
		}
		for _, m := range b.chosen() {
			if !m.peer {
				continue
			}
			if err := b.peer(ctx, m, rows); err != nil {
				return fmt.Errorf("%s on %s: %w", m.name, task, errors.Join(err, rows.close()))
			}
		}
		if err := rows.close(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) peer(ctx context.Context, m method, rows *rows) error {
	c := &cell{setting: b.setting(theirs, m, rows)}
	if done, err := b.finished(c.setting); done != nil || err != nil {
		return err
	}
	j := job{
		Base: b.base, Method: m.name, Classes: max(1, len(rows.task.Classes)), Rate: m.rate, Warmup: int(math.Ceil(warmup * float64(c.Steps))), Seed: b.seed, Threads: b.threads,
	}
	order := dataset.Order{Set: rows.train, Seed: b.seed, Shuffle: true}
	for step := range c.Steps {
		var batch []sequence
		for i := range batchSize {
			sequences, err := order.At(step*batchSize + i)
			if err != nil {
				return err
			}
			batch = append(batch, given(sequences[0]))
			c.Seen += len(sequences[0].Tokens)
		}
		j.Batches = append(j.Batches, batch)
	}
	for i := range rows.dev.Len() {
		s, err := rows.dev.Sequence(i)
		if err != nil {
			return err
		}
		j.Dev = append(j.Dev, given(s))
	}
	answer, err := b.script(ctx, c, j)
	if err != nil {
		return err
	}
	if len(answer.Scores) != len(j.Dev) {
		return fmt.Errorf("the script has %d scores of %d rows", len(answer.Scores), len(j.Dev))
	}
	if c.Scores, err = rows.measured(answer.Scores); err != nil {
		return err
	}
	c.Score, c.Parameters, c.Peak, c.Threads = rows.task.Score(c.Scores), answer.Parameters, answer.Peak, answer.Threads
	return b.keep(c)
}

// given is a sequence for the script.
func given(s dataset.Sequence) sequence {
	out := sequence{Tokens: s.Tokens, Types: s.Types}
	if len(s.Values) > 0 {
		out.Label = float64(s.Values[0])
		return out
	}
	for _, t := range s.Targets {
		if t >= 0 {
			out.Label = float64(t)
		}
	}
	return out
}

// script runs the script on the job of a cell.
func (b *bench) script(ctx context.Context, c *cell, j job) (*told, error) {
	dir := filepath.Join(b.work, "peers", c.Method+"-"+strings.ToLower(c.Task))
	if err := disk.MkdirAll(dir); err != nil {
		return nil, err
	}
	text, err := json.Marshal(j)
	if err == nil {
		err = disk.Write(filepath.Join(dir, "job.json"), text)
	}
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, b.python, "-c", peerScript, filepath.Join(dir, "job.json"))
	command.Stderr = os.Stderr
	start := time.Now()
	said, err := command.Output()
	if err != nil {
		return nil, err
	}
	c.took(start, command.ProcessState)
	answer := &told{}
	return answer, json.Unmarshal(said, answer)
}
