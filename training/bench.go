package training

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Benchmark is some steps of a method on sequences of one length.
type Benchmark struct {
	Method  string // with targets after a colon: "lora:q_proj+v_proj"
	Batch   int
	Length  int
	Steps   int
	R       int
	Threads int
	// Recompute keeps one activation a block: --gradient-checkpointing.
	Recompute bool
}

// BenchResult is what a Benchmark measured.
type BenchResult struct {
	Method          string  `json:"method"`
	Parameters      int     `json:"parameters"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// By the time that processors spent, which other work changes less; 0: unknown.
	TokensPerProcessorSecond float64 `json:"tokens_per_processor_second,omitempty"`
	FLOPS                    float64 `json:"flops_per_second"`                // that the method asks for
	PeakFLOPS                float64 `json:"peak_flops_per_second,omitempty"` // that the machine has; the caller's
	Peak                     Account `json:"peak_bytes"`
	Resident                 int     `json:"resident_peak_bytes"` // of the process; see ResidentPeak
}

// Bench measures the steps of a method, after one that is not counted. The
// base has just been opened, after ResetResidentPeak.
func Bench(ctx context.Context, base *Opened, b Benchmark) (*BenchResult, error) {
	name, targets, _ := strings.Cut(b.Method, ":")
	c := Config{Method: Spelt(name), Schedule: "constant", Optimizer: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, LR: 1e-6, BatchSize: b.Batch, GradAccum: 1}
	c.MethodConfig = MethodConfig{
		Choice: adapters.Choice{R: b.R}, PlusEmbedding: 1e-6, Gamma: 2, Interval: 1 << 30,
		BlockOrder: "ascending", BlockInterval: 1 << 30, GaloreRank: 128, GaloreGap: 200, GaloreScale: 0.25,
	}
	if !Known(name) {
		return nil, fmt.Errorf("method %q is not known (%s)", name, strings.Join(Methods(), ", "))
	}
	c.ZeroBiases = true // what bitfit costs on a base without any
	if targets != "" {
		c.Targets = strings.Split(targets, "+")
	}
	m, labels, objective, err := benchObjective(base.Model, name)
	if err != nil {
		return nil, err
	}
	method, err := c.method(m, labels, func(string, ...any) {})
	if err != nil {
		return nil, err
	}
	if longest := room(m, method.Adapter()); b.Length > longest {
		return nil, fmt.Errorf("--max-length: %d tokens, and the context has room for %d", b.Length, longest)
	}
	pool := kernels.NewPool(b.Threads)
	defer pool.Close()
	t := NewTrainer(pool, m, method)
	t.Recompute(b.Recompute)
	t.Objective = objective
	t.Rate, t.Clip, t.Grouping, t.Schedule = c.LR, 1, HuggingFace(0), Schedule{Kind: "constant", Steps: b.Steps}
	if t.Optimizer, err = c.optimizer(); err != nil {
		return nil, err
	}
	batch := [][]Sequence{synthetic(b.Batch, b.Length, m.Config().Vocabulary)}
	size := dataset.Size{Rows: b.Length - 1, Labels: b.Length - 1}
	if objective.Head != nil {
		withClasses(batch[0], objective.Head)
		size = dataset.Size{Rows: b.Length, Labels: 1}
	}
	var took, spent time.Duration
	for step := range b.Steps + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		began, had := time.Now(), processor.Time()
		if _, err := t.Advance(batch); err != nil {
			return nil, err
		}
		if step > 0 {
			took += time.Since(began)
			spent += processor.Time() - had
		}
	}
	r := &BenchResult{Method: b.Method, Parameters: count(method.Parameters()), Peak: t.Account(), Resident: ResidentPeak()}
	tokens := float64(b.Batch * b.Length * b.Steps)
	r.TokensPerSecond = tokens / took.Seconds()
	if spent > 0 {
		r.TokensPerProcessorSecond = tokens / spent.Seconds()
	}
	_, flops, err := Measure(m, method, objective, false, slices.Repeat([]dataset.Size{size}, b.Batch)...)
	if err != nil {
		return nil, err
	}
	r.FLOPS = flops.Total() * float64(b.Steps) / took.Seconds()
	return r, nil
}

// benchObjective is what steps on a base learn: the token that follows or, of an encoder,
// one of two classes, by a head on the base.
func benchObjective(m models.Model, method string) (models.Model, *dataset.Labels, Objective, error) {
	if m.Config().Architecture.Does(models.Generate) {
		return m, nil, Objective{}, nil
	}
	l := &dataset.Labels{Classes: models.Classes{Task: models.Classify, Problem: models.SingleLabel, Names: []string{"0", "1"}}}
	under, err := headFor(m, method, l, 1)
	if err != nil {
		return nil, nil, Objective{}, err
	}
	head, err := under.Config().Head(l.Task)
	return under, l, Objective{Head: head, Problem: l.Problem, Classes: len(l.Names), Names: l.Names}, err
}

// withClasses gives texts a class each.
func withClasses(batch []Sequence, head *models.Head) {
	for i := range batch {
		s := &batch[i]
		s.Tokens, s.Whole = s.Tokens[:len(s.Tokens)-1], true
		s.Targets = slices.Repeat([]int32{dataset.None}, len(s.Tokens))
		s.Targets[head.Place(s.Tokens, 0)] = int32(i % 2)
	}
}

// synthetic is a batch of sequences that predict at every position.
func synthetic(n, length, vocabulary int) []Sequence {
	var batch []Sequence
	for i := range n {
		s := Sequence{}
		for k := range length + 1 {
			s.Tokens = append(s.Tokens, int32((i*7919+k*104729)%(vocabulary-2)+1))
		}
		s.Targets = append(s.Targets, s.Tokens[1:]...)
		s.Targets = append(s.Targets, dataset.None)
		batch = append(batch, s)
	}
	return batch
}

// WriteJSON writes the result as a line.
func (r *BenchResult) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }
