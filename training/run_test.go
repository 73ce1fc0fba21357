package training

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// letters is a tokenizer with a token for each of a few characters: the golden
// bases have 64.
func letters(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	vocabulary := map[string]int{"<s>": 0, "</s>": 1}
	for _, c := range "abcdefghijklmnopqrstuvwxyz .01,23456789:?!\n'\"()-RST" {
		vocabulary[string(c)] = len(vocabulary)
	}
	special := []map[string]any{}
	for _, s := range []string{"<s>", "</s>"} {
		special = append(special, map[string]any{"id": vocabulary[s], "content": s, "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
	}
	b, err := json.Marshal(map[string]any{
		"added_tokens": special,
		"model":        map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{}, "unk_token": "</s>"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// openTiny opens a golden base that is small enough to be trained in a test.
func openTiny(t testing.TB, base string) *Opened {
	t.Helper()
	dir := modeltest.Goldens(t, "training", base)
	m, s, err := models.Open(dir, models.Options{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	o := &Opened{Path: dir, Model: m, Source: s, Tokenizer: letters(t)}
	t.Cleanup(func() { o.Close() })
	return o
}

// quiet is an Observer that stops a run after a step.
type quiet struct {
	stopAt int
	stop   context.CancelFunc
	steps  []StepReport
}

func (q *quiet) Note(string, ...any) {}
func (q *quiet) Start(int, int)      {}
func (q *quiet) Step(r StepReport) {
	q.steps = append(q.steps, r)
	if r.Step == q.stopAt {
		q.stop()
	}
}
func (q *quiet) Validated(StepReport) {}

// tinyConfig is a run of twelve steps.
func tinyConfig(t testing.TB, method string) Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train.jsonl")
	var b bytes.Buffer
	for i := range 17 {
		fmt.Fprintf(&b, "{\"prompt\": \"what is %d?\", \"completion\": \"it is %s\"}\n", i, strings.Repeat("x", i%5+1))
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	c := Config{
		Base: "tiny", Method: method, Output: filepath.Join(t.TempDir(), "out"), Data: []string{path}, Format: "auto", Turns: "all", MaxLength: 48,
		MaxSteps: 12, BatchSize: 2, GradAccum: 2, LR: 1e-2, Schedule: "cosine", Warmup: 2, Seed: 3, Shuffle: true,
		Optimizer: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Decay: 0.01, Clip: 1, Threads: 2, Samples: 2,
	}
	c.Columns.Prompt, c.Columns.Completion = "prompt", "completion"
	c.MethodConfig = MethodConfig{
		Choice:        adapters.Choice{R: 2, Dropout: 0.1, Bias: "none", Start: "default", VirtualTokens: 3, Reduction: 4},
		PlusEmbedding: 1e-6, Gamma: 1, Interval: 3,
		BlockOrder: "random", BlockInterval: 3, GaloreRank: 4, GaloreGap: 5, GaloreScale: 0.25,
	}
	return c
}

func train(t testing.TB, c Config, base string, q *quiet) (*Summary, error) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := NewRun(c, openTiny(t, base), q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	q.stop = stop
	return r.Do(ctx)
}

// saved returns the bytes of the tensors in an output folder.
func saved(t testing.TB, dir string) []byte {
	t.Helper()
	for _, name := range []string{adapters.SafeFile, "model.safetensors"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return b
		}
	}
	t.Fatalf("%s holds no tensors", dir)
	return nil
}

// TestResumeIsExact interrupts a run of each method, goes on from the
// checkpoint with another number of threads, and demands the bits of a run
// that nobody interrupted.
func TestResumeIsExact(t *testing.T) {
	for _, method := range Methods() {
		t.Run(method, func(t *testing.T) {
			base := "llama-gqa"
			if method == "bitfit" {
				base = "gpt2"
			}
			c := tinyConfig(t, method)
			if _, err := train(t, c, base, &quiet{}); err != nil {
				t.Fatal(err)
			}
			want := saved(t, c.Output)
			for _, stopAt := range []int{1, 4, 6, 11} {
				c.Output = filepath.Join(t.TempDir(), "out")
				c.Resume, c.Threads = Resume{}, 2
				if _, err := train(t, c, base, &quiet{stopAt: stopAt}); !errors.Is(err, ErrInterrupted) {
					t.Fatalf("stopped at %d: %v", stopAt, err)
				}
				c.Resume, c.Threads = Resume{On: true}, 1
				q := &quiet{}
				if _, err := train(t, c, base, q); err != nil {
					t.Fatal(err)
				}
				if len(q.steps) != c.MaxSteps-stopAt {
					t.Errorf("stopped at %d: %d steps after that, want %d", stopAt, len(q.steps), c.MaxSteps-stopAt)
				}
				if !bytes.Equal(saved(t, c.Output), want) {
					t.Errorf("stopped at %d and resumed, the result has other bits", stopAt)
				}
				reports, err := readJournal(filepath.Join(c.Output, "metrics.jsonl"))
				if err != nil || len(reports) != c.MaxSteps {
					t.Errorf("metrics.jsonl has %d lines (%v), want %d", len(reports), err, c.MaxSteps)
				}
			}
		})
	}
}

// TestEveryParameterMoves demands that training changes each value's tensor.
func TestEveryParameterMoves(t *testing.T) {
	for _, method := range Methods() {
		t.Run(method, func(t *testing.T) {
			base := "llama-gqa"
			if method == "bitfit" {
				base = "gpt2"
			}
			c := tinyConfig(t, method)
			c.BlockInterval, c.Interval, c.Gamma = 1, 1, 2
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			r, err := NewRun(c, openTiny(t, base), &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.Trainer.Method.Begin(0)
			before := map[string][]float32{}
			for _, p := range allParameters(r.Trainer.Method) {
				r.opener()(p)
				before[p.Name] = append([]float32(nil), p.Value...)
			}
			if _, err := r.Do(context.Background()); err != nil {
				t.Fatal(err)
			}
			for _, p := range allParameters(r.Trainer.Method) {
				same := 0
				for i, v := range p.Value {
					if v == before[p.Name][i] {
						same++
					}
				}
				if same == len(p.Value) {
					t.Errorf("%s has not moved", p.Name)
				}
			}
		})
	}
}

// TestStartsAsNothing demands that LoRA, DoRA, PiSSA and OLoRA begin as the
// base: peft's invariant.
func TestStartsAsNothing(t *testing.T) {
	for _, start := range adapters.Starts {
		for _, method := range []string{"lora", "rslora", "dora"} {
			t.Run(method+"/"+start, func(t *testing.T) {
				c := tinyConfig(t, method)
				c.Start = start
				r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				batch, err := r.batch(0)
				if err != nil {
					t.Fatal(err)
				}
				want := logits(r.pool, r.Base.Model, nil, batch[0])
				got := logits(r.pool, r.Base.Model, r.served(), batch[0])
				if d := modeltest.MaxDifference(want, got); d > 1e-5 {
					t.Errorf("a logit is off by %v at the start", d)
				}
				if _, err := r.Do(context.Background()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestPlanHolds demands that the plan of each method and what is measured
// agree within 2 % in every category.
func TestPlanHolds(t *testing.T) {
	for _, method := range Methods() {
		t.Run(method, func(t *testing.T) { planHolds(t, method, func(*Config) {}) })
		t.Run(method+"/checkpointing", func(t *testing.T) { planHolds(t, method, func(c *Config) { c.Checkpointing = true }) })
	}
	for _, method := range []string{"lora", "full", "prefix", "prompt"} {
		t.Run("packing/"+method, func(t *testing.T) {
			planHolds(t, method, func(c *Config) { c.Packing, c.MaxLength, c.BatchSize = true, 40, 3 })
		})
	}
	for _, init := range []string{"lora-tokens", "lora-tokens-by-name"} {
		t.Run(init, func(t *testing.T) {
			planHolds(t, "lora", func(c *Config) { c.InitAdapter = modeltest.Goldens(t, "training", "llama-gqa", init, "init") })
		})
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("adapter-drop-random/%d", seed), func(t *testing.T) {
			planHolds(t, "houlsby", func(c *Config) { c.AdapterDropMax, c.MaxSteps, c.Seed = 2, 2, seed })
		})
	}
}

func planHolds(t *testing.T, method string, change func(*Config)) {
	base := "llama-gqa"
	if method == "bitfit" {
		base = "gpt2"
	}
	c := tinyConfig(t, method)
	c.Interval, c.BlockInterval = 2, 2
	change(&c)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := NewRun(c, openTiny(t, base), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Plan(); err != nil {
		t.Fatal(err)
	}
	s, err := r.Do(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]int{
		{s.Plan.Model, s.Peak.Model}, {s.Plan.Gradients, s.Peak.Gradients}, {s.Plan.Optimizer, s.Peak.Optimizer}, {s.Plan.Activations, s.Peak.Activations},
	} {
		if off := float64(pair[0]-pair[1]) / float64(pair[1]+1); off < -0.02 || off > 0.02 {
			t.Errorf("planned %+v, measured %+v", s.Plan, s.Peak)
			break
		}
	}
}

// TestCheckpointingIsExact demands the same bits of a run that keeps one
// activation a block, dropout included, and less memory.
func TestCheckpointingIsExact(t *testing.T) {
	for _, method := range []string{"full", "lora", "dora", "houlsby", "prefix", "ia3"} {
		t.Run(method, func(t *testing.T) {
			c := tinyConfig(t, method)
			plain, err := train(t, c, "llama-gqa", &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			want := saved(t, c.Output)
			c.Checkpointing, c.Output = true, filepath.Join(t.TempDir(), "out")
			less, err := train(t, c, "llama-gqa", &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(saved(t, c.Output), want) {
				t.Error("the result has other bits")
			}
			if less.Peak.Activations >= plain.Peak.Activations {
				t.Errorf("activations take %d bytes, without it %d", less.Peak.Activations, plain.Peak.Activations)
			}
		})
	}
}

// died is an Observer under which a run dies in the middle of a step's end.
type died struct {
	quiet
	at int
}

func (d *died) Step(r StepReport) {
	if r.Step == d.at {
		panic(d)
	}
}

// TestKilledIsExact lets runs die without a word and goes on from the last
// checkpoint that they wrote: the bits, and the metrics, are those of a run
// that lived.
func TestKilledIsExact(t *testing.T) {
	for _, method := range []string{"lora", "lisa", "galore"} {
		t.Run(method, func(t *testing.T) {
			c := tinyConfig(t, method)
			if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
				t.Fatal(err)
			}
			want := saved(t, c.Output)
			c.Output, c.SaveEvery = filepath.Join(t.TempDir(), "out"), 3
			for _, at := range []int{2, 5, 8, 11, 0} {
				c.Resume = Resume{On: true}
				func() {
					defer func() {
						if v := recover(); v != nil {
							if _, ok := v.(*died); !ok {
								panic(v)
							}
						}
					}()
					r, err := NewRun(c, openTiny(t, "llama-gqa"), &died{at: at})
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close()
					if _, err := r.Do(context.Background()); err != nil {
						t.Fatal(err)
					}
				}()
			}
			if !bytes.Equal(saved(t, c.Output), want) {
				t.Error("killed four times and resumed, the result has other bits")
			}
			reports, err := readJournal(filepath.Join(c.Output, "metrics.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range reports {
				if r.Step != i+1 {
					t.Fatalf("line %d of metrics.jsonl is step %d", i+1, r.Step)
				}
			}
		})
	}
}

// TestOtherSettingsAreNotResumed: a checkpoint of another run is refused.
func TestOtherSettingsAreNotResumed(t *testing.T) {
	c := tinyConfig(t, "lora")
	if _, err := train(t, c, "llama-gqa", &quiet{stopAt: 4}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	c.Resume.On, c.LR = true, 0.5
	if _, err := train(t, c, "llama-gqa", &quiet{}); err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("%v", err)
	}
}

// TestAdapterDrop: the lowest blocks have no bottleneck, or none for as many
// passes as are drawn.
func TestAdapterDrop(t *testing.T) {
	c := tinyConfig(t, "houlsby")
	c.AdapterDrop = 1
	r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, p := range r.Trainer.Method.Parameters() {
		if strings.Contains(p.Name, "layers.0.") {
			t.Errorf("%s is in a block that was left out", p.Name)
		}
	}
	c.AdapterDrop, c.AdapterDropMax = 0, 2
	drawn, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer drawn.Close()
	a := drawn.Trainer.Method.(*Adapted).Trainee
	seen := map[int]bool{}
	for pass := range uint64(64) {
		a.Draw(pass)
		out := 0
		for site, s := range drawn.Base.Model.Sites() {
			if s.Kind == models.SublayerSite && a.Sublayer(site) == nil {
				out++
			}
		}
		seen[out/2] = true
	}
	if len(seen) != 3 || !seen[0] || !seen[1] || !seen[2] {
		t.Errorf("blocks left out: %v, want 0, 1 and 2", seen)
	}
}
