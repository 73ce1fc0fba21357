package models_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// tolerance is the largest difference of a logit from transformers' in f32.
const tolerance = 1e-4

func TestGoldenLogits(t *testing.T) {
	for _, base := range modeltest.Bases(t) {
		t.Run(base, func(t *testing.T) {
			checkGolden(t, modeltest.Open(t, base), modeltest.Goldens(t, base, "golden.safetensors"))
		})
	}
}

// TestGoldenVariants runs the same weights under other configurations.
func TestGoldenVariants(t *testing.T) {
	configs, err := filepath.Glob(modeltest.Goldens(t, "*", "config.*.json"))
	if err != nil || len(configs) == 0 {
		t.Fatalf("no variants: %v", err)
	}
	for _, config := range configs {
		base := filepath.Dir(config)
		variant := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(config), "config."), ".json")
		t.Run(filepath.Base(base)+"/"+variant, func(t *testing.T) {
			dir := t.TempDir()
			copyFile(t, config, filepath.Join(dir, "config.json"))
			copyFile(t, filepath.Join(base, "model.safetensors"), filepath.Join(dir, "model.safetensors"))
			m, s, err := models.Open(dir, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			checkGolden(t, m, filepath.Join(base, "golden."+variant+".safetensors"))
		})
	}
}

func checkGolden(t *testing.T, m models.Model, golden string) {
	t.Helper()
	pool, ran := modeltest.Pool(t, 2), false
	for i, c := range modeltest.Cases(t, golden) {
		if len(c.Tokens)+len(c.Greedy) > m.Config().Context {
			continue // dynamic scaling, past the trained context
		}
		ran = true
		got := modeltest.Logits(t, m, pool, c.Tokens, nil)
		got = got.Span(got.Rows-c.Logits.Rows, got.Rows) // some keep the last rows alone
		if d := modeltest.MaxDifference(got, c.Logits); d > tolerance {
			t.Errorf("case %d, %d tokens: a logit is off by %.3g", i, len(c.Tokens), d)
		}
		tokens := append([]int32(nil), c.Tokens...)
		for j, want := range c.Greedy {
			logits := modeltest.Logits(t, m, pool, tokens, nil)
			if next := largest(logits.Row(len(tokens) - 1)); next != want {
				t.Fatalf("case %d: greedy token %d is %d, want %d", i, j, next, want)
			}
			tokens = append(tokens, want)
		}
	}
	if !ran {
		t.Fatal("no case fits the context")
	}
}

func largest(v []float32) int32 {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return int32(best)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBatchInvariance holds law 1 over the base: chunks, batches and threads
// give the same bits.
func TestBatchInvariance(t *testing.T) {
	for _, base := range modeltest.Bases(t) {
		t.Run(base, func(t *testing.T) {
			m := modeltest.Open(t, base)
			cases := modeltest.Cases(t, modeltest.Goldens(t, base, "golden.safetensors"))
			one, two := modeltest.Pool(t, 1), modeltest.Pool(t, 2)
			for i, c := range cases {
				want := modeltest.Logits(t, m, one, c.Tokens, nil)
				equal(t, "two threads", modeltest.Logits(t, m, two, c.Tokens, nil), want)
				for _, chunk := range []int{1, 5, 32} {
					equal(t, "chunks", chunked(m, two, c.Tokens, chunk), want)
				}
				equal(t, "batch", beside(m, two, cases, i), want)
			}
		})
	}
}

func equal(t *testing.T, what string, got, want kernels.Matrix) {
	t.Helper()
	for i := range want.Rows {
		for j, w := range want.Row(i) {
			if got.Row(i)[j] != w {
				t.Fatalf("%s: row %d, logit %d is %v, alone %v", what, i, j, got.Row(i)[j], w)
			}
		}
	}
}

func chunked(m models.Model, pool *kernels.Pool, tokens []int32, size int) kernels.Matrix {
	p := models.NewPass(pool)
	blocks := []int32{4, 2, 0, 1, 3, 5, 6, 7}
	cache := models.NewCache(m.Config(), len(blocks))
	out := kernels.NewMatrix(len(tokens), m.Config().Vocabulary)
	for from := 0; from < len(tokens); from += size {
		to := min(from+size, len(tokens))
		var b models.Batch
		b.Add(tokens[from:to], from, blocks, nil)
		h := m.Forward(p, &b, cache)
		logits := m.Head(p, &b, 0, h)
		out.Span(from, to).Copy(logits.Data)
		p.Free(h, logits)
	}
	return out
}

// beside runs case i in a batch with all the others, the last rows of which
// alone are wanted.
func beside(m models.Model, pool *kernels.Pool, cases []modeltest.Case, i int) kernels.Matrix {
	p := models.NewPass(pool)
	var b models.Batch
	blocks, from := int32(0), 0
	b.Out = []int32{}
	for j, c := range cases {
		var own []int32
		for range len(c.Tokens)/kernels.BlockLen + 1 {
			own = append(own, blocks)
			blocks++
		}
		start := b.Rows()
		b.Add(c.Tokens, 0, own, nil)
		if j == i {
			from = len(b.Out)
			for r := start; r < b.Rows(); r++ {
				b.Out = append(b.Out, int32(r))
			}
		} else {
			b.Out = append(b.Out, int32(b.Rows()-1))
		}
	}
	h := m.Forward(p, &b, models.NewCache(m.Config(), int(blocks)))
	own := p.New(len(cases[i].Tokens), h.Data.Cols)
	own.Data.Copy(h.Data.Span(from, from+own.Rows()))
	return m.Head(p, &b, from, own).Data
}
