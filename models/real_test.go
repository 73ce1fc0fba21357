package models_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// TestReal holds real bases, from GGUF files that are fetched by hand, against
// SentencePiece's tokens and transformers' log-probabilities and greedy
// continuations on the dequantised weights.
func TestReal(t *testing.T) {
	paths, err := filepath.Glob(modeltest.Goldens(t, "real", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range paths {
		var golden struct {
			File    string `json:"file"`
			Prompts []struct {
				Name, Text string
				Tokens     []int32
				Logprobs   []float64
				Greedy     []int32
			}
		}
		readJSON(t, path, &golden)
		t.Run(golden.File, func(t *testing.T) {
			m, s, err := models.Open(modeltest.Real(t, golden.File), models.Options{Context: 1024})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			text, err := tokenizer.FromGGUF(s.GGUF)
			if err != nil {
				t.Fatal(err)
			}
			pool := modeltest.Pool(t, 0)
			for _, p := range golden.Prompts {
				if ids, err := text.Encode(p.Text, true); err != nil || !slices.Equal(ids, p.Tokens) {
					t.Errorf("%s: tokens %v, want %v (%v)", p.Name, ids, p.Tokens, err)
				}
				logits := modeltest.Logits(t, m, pool, append(slices.Clone(p.Tokens), p.Greedy...), nil)
				worst := 0.0
				for i, want := range p.Logprobs {
					worst = max(worst, math.Abs(logprob(logits.Row(i), p.Tokens[i+1])-want))
				}
				if !(worst <= 1e-4) {
					t.Errorf("%s: a log-probability is off by %.3g", p.Name, worst)
				}
				for i, want := range p.Greedy {
					if got := largest(logits.Row(len(p.Tokens) - 1 + i)); got != want {
						t.Errorf("%s: greedy token %d is %d, want %d", p.Name, i, got, want)
					}
				}
				t.Logf("%s: log-probabilities within %.2g", p.Name, worst)
			}
		})
	}
}

// logprob is the log-probability of a token.
func logprob(logits []float32, token int32) float64 {
	most := float64(slices.Max(logits))
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - most)
	}
	return float64(logits[token]) - most - math.Log(sum)
}
