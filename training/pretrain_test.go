package training

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// tinyPretraining is twelve steps of a model of two blocks on a text of rhymes.
func tinyPretraining(t testing.TB) *Pretraining {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "This is verse %d of sixty, and so the rhyme goes on: %s.\n\n", i, strings.Repeat("la ", i%5+1))
	}
	text := filepath.Join(dir, "rhymes.txt")
	if err := os.WriteFile(text, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	trainer := &tokenizer.Trainer{Vocabulary: 290, Special: []string{"<|end|>"}, Digits: true}
	if err := trainer.Add(t.Context(), b.String()); err != nil {
		t.Fatal(err)
	}
	learnt, err := trainer.Train(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(dir, "tokenizer")
	if err := os.Mkdir(tokens, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := learnt.Write(tokens, tokenizer.Roles{EOS: "<|end|>"}, ""); err != nil {
		t.Fatal(err)
	}
	return &Pretraining{
		Output: filepath.Join(t.TempDir(), "out"), Tokenizer: tokens, Data: []string{text}, Split: 0.2, Format: "documents",
		Shape:    Shape{Hidden: 16, Intermediate: 24, Layers: 2, Heads: 4, KVHeads: 2, Context: 32, Tied: true, Theta: 10000, Deviation: 0.1},
		MaxSteps: 12, BatchSize: 2, GradAccum: 1, LR: 1e-2, Schedule: "cosine", Warmup: 2, Seed: 3,
		Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, Decay: 0.1, Clip: 1, DType: "bf16", KeepCheckpoint: true, Samples: 1, Threads: 2,
	}
}

func pretrain(t testing.TB, p *Pretraining, q *quiet) (*Summary, error) {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	base, err := p.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	r, err := NewRun(p.Config(), base, q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Plan(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if q.stopAt > 0 {
		ctx, q.stop = context.WithCancel(ctx)
	}
	return r.Do(ctx)
}

// TestPretrain: what comes of it is a model that reads back, that knows its text
// better than before, and that can be tuned; it is the same whether or not the
// training was stopped and resumed.
func TestPretrain(t *testing.T) {
	p := tinyPretraining(t)
	q := &quiet{}
	s, err := pretrain(t, p, q)
	if err != nil {
		t.Fatal(err)
	}
	if first, last := q.steps[0].Loss, s.Loss; math.Abs(first-math.Log(290)) > 0.2 || last > first-0.5 {
		t.Errorf("the loss goes from %g, where every token is as likely as another, to %g", first, last)
	}
	if s.Validation["bits_per_byte"] <= 0 || s.Validation["bits_per_byte"] > 8 {
		t.Errorf("validation: %v", s.Validation)
	}
	want := saved(t, p.Output)
	p.Resume, p.Threads = Resume{On: true}, 1
	p.Output = filepath.Join(t.TempDir(), "out")
	if _, err := pretrain(t, p, &quiet{stopAt: 5}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	if _, err := pretrain(t, p, &quiet{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved(t, p.Output), want) {
		t.Error("stopped and resumed, the result has other bits")
	}
	base, err := Open(p.Output, BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if base.End() != 0 || base.Model.Config().Parameters != s.Parameters || base.Model.Config().Context != 32 {
		t.Errorf("read back: %+v", base.Model.Config())
	}
	c := tinyConfig(t, "lora")
	c.MaxLength = 32
	r, err := NewRun(c, base, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Do(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestModelCard names what the model was made of.
func TestModelCard(t *testing.T) {
	p := tinyPretraining(t)
	p.License, p.Language, p.MaxSteps, p.Split, p.Validation = "apache-2.0", "en", 3, 0, p.Data
	if _, err := pretrain(t, p, &quiet{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(p.Output, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`license: "apache-2.0"`, `language: "en"`, "rhymes.txt", "This is verse 0 of sixty", "Held-out bits per byte", "2 blocks of width 16",
		"What it was measured on, and not trained", "| Steps | 3 of 2 × 1 windows |",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	var generation map[string]any
	if b, err = os.ReadFile(filepath.Join(p.Output, generationFile)); err != nil || json.Unmarshal(b, &generation) != nil || generation["eos_token_id"] != 0.0 {
		t.Errorf("%v: %s", err, b)
	}
}

// TestFirstValues are a function of seed and name, of the deviation that is
// asked for, and smaller where they add to the residual stream.
func TestFirstValues(t *testing.T) {
	p := tinyPretraining(t)
	p.Hidden, p.Intermediate, p.Tied = 64, 128, false
	begin := func() *Blocks {
		o, err := p.Begin()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		f := Full(o.Model)
		f.Begin(0)
		return f
	}
	f, again := begin(), begin()
	for i, x := range f.Parameters() {
		if !slices.Equal(x.Value, again.Parameters()[i].Value) {
			t.Errorf("%s is other values the second time", x.Name)
		}
		want := 0.1
		switch {
		case x.Norm:
			if slices.Min(x.Value) != 1 || slices.Max(x.Value) != 1 {
				t.Errorf("%s is not 1", x.Name)
			}
			continue
		case strings.HasSuffix(x.Name, "o_proj.weight"), strings.HasSuffix(x.Name, "down_proj.weight"):
			want = 0.1 / 2 // two blocks
		}
		sum := 0.0
		for _, v := range x.Value {
			sum += float64(v) * float64(v)
		}
		if got := math.Sqrt(sum / float64(len(x.Value))); math.Abs(got/want-1) > 0.05 {
			t.Errorf("%s deviates by %g, want %g", x.Name, got, want)
		}
	}
	p.Seed++
	if other := begin(); slices.Equal(other.Parameters()[0].Value, f.Parameters()[0].Value) {
		t.Error("another seed gives the same values")
	}
}

// TestPretrainingDecay: norms and embeddings are not decayed, all else is.
func TestPretrainingDecay(t *testing.T) {
	p := tinyPretraining(t)
	o, err := p.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := NewRun(p.Config(), o, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Trainer.Method.Begin(0)
	for _, x := range r.Trainer.Method.Parameters() {
		want := p.Decay
		if x.Norm || strings.Contains(x.Name, "embed_tokens") {
			want = 0
		}
		if got := r.Trainer.Grouping.Of(x).Decay; got != want {
			t.Errorf("%s: decay %g, want %g", x.Name, got, want)
		}
	}
}

// TestPretrainRefuses: what cannot be is refused by the flag's name, all of it
// at once.
func TestPretrainRefuses(t *testing.T) {
	p := tinyPretraining(t)
	p.Heads, p.KVHeads, p.Layers, p.LR, p.Data, p.Schedule, p.DType = 5, 3, 0, 0, nil, "saw", "int8"
	p.Tokenizer = p.Output
	err := p.Validate()
	for _, want := range []string{"--heads:", "--kv-heads:", "--layers: 0, want", "--lr: 0, want", "--data: is missing", `--schedule: "saw"`, `--dtype: "int8"`, "is the tokenizer's folder"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	p = tinyPretraining(t)
	p.Tokenizer = t.TempDir()
	if _, err := p.Begin(); err == nil || !strings.Contains(err.Error(), "--tokenizer:") {
		t.Error(err)
	}
	p = tinyPretraining(t)
	if err := os.WriteFile(filepath.Join(p.Tokenizer, "tokenizer_config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Begin(); err == nil || !strings.Contains(err.Error(), "no eos_token") {
		t.Error(err)
	}
	p = tinyPretraining(t)
	if _, err := pretrain(t, p, &quiet{}); err != nil {
		t.Fatal(err)
	}
	p.Resume, p.MaxSteps, p.Hidden, p.Seed = Resume{On: true}, 20, 32, 4 // more steps may be asked for
	if _, err := pretrain(t, p, &quiet{}); err == nil || !strings.Contains(err.Error(), "--hidden-size: was 16, is 32") || strings.Contains(err.Error(), "--base") || !strings.Contains(err.Error(), "--seed: was 3, is 4") ||
		!strings.Contains(err.Error(), "These may change: --max-steps, --epochs, --output, --resume,") || strings.Contains(err.Error(), "--publish") {
		t.Error(err)
	}
}
