package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training"
)

// TestTrainedEmbeddingsAreServed trains embeddings by adapters and whole, and holds those
// that /v1/embeddings answers with, all texts at once, against those of the trainer's own
// evaluation: equal bits.
func TestTrainedEmbeddingsAreServed(t *testing.T) {
	dir := modeltest.Goldens(t, "sentences", "tiny")
	rows := [][]string{{"a man is playing", "the flute", "dog"}, {"the dog runs .", "a dog", "search"}, {"document", "the document", "man runs"}}
	var lines, texts []string
	for _, row := range rows {
		b, err := json.Marshal(map[string]string{"anchor": row[0], "positive": row[1], "negative": row[2]})
		if err != nil {
			t.Fatal(err)
		}
		lines, texts = append(lines, string(b)), append(texts, row...)
	}
	data := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(data, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"lora", "bitfit", "houlsby", "prompt", "prefix", "full"} {
		t.Run(method, func(t *testing.T) {
			base, err := training.Open(dir, training.BaseConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { base.Close() }()
			c := training.Config{
				Base: dir, Method: method, Output: filepath.Join(t.TempDir(), "adapters", "mine"), Data: []string{data}, Objective: "contrastive",
				Format: "auto", Turns: "all", MaxSteps: 3, BatchSize: 3, GradAccum: 1, LR: 1e-2,
				Schedule: "constant", Optimizer: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Threads: 1,
			}
			c.Choice = adapters.Choice{R: 2, VirtualTokens: 3, Reduction: 4}
			run, err := training.NewRun(c, base, mute{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = run.Do(context.Background())
			if err = errors.Join(err, run.Close()); err != nil {
				t.Fatal(err)
			}
			a := training.Assessment{Data: []string{data}, Format: "auto", Objective: "contrastive", Threads: 1}
			served, made := dir, filepath.Dir(c.Output)
			if method == "full" {
				served, made = c.Output, t.TempDir()
				if err := base.Close(); err != nil {
					t.Fatal(err)
				}
				if base, err = training.Open(served, training.BaseConfig{}); err != nil {
					t.Fatal(err)
				}
			} else if a.Adapter, err = adapters.Open(c.Output); err != nil {
				t.Fatal(err)
			}
			var want [][]float32
			a.Each = func(own kernels.Matrix) {
				for i := range own.Rows {
					want = append(want, slices.Clone(own.Row(i)))
				}
			}
			if _, _, err := training.Assess(context.Background(), base, a); err != nil {
				t.Fatal(err)
			}
			site, err := newRequestSite(served, made)
			if err != nil {
				t.Fatal(err)
			}
			defer site.stop()
			ask := map[string]any{"input": texts}
			if method != "full" {
				ask["model"] = "mine"
			}
			got := asked(t, site.url+"/v1/embeddings", ask)
			if len(got) != len(want) || len(want) != len(texts) {
				t.Fatalf("%d embeddings are served, and %d trained", len(got), len(want))
			}
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("%q: served %v, trained %v", texts[i], got[i], want[i])
				}
			}
		})
	}
}

// asked are the embeddings that a server answers with.
func asked(t *testing.T, url string, body any) (rows [][]float32) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", response.Status, text, err)
	}
	var answer struct {
		Data []struct{ Embedding []float32 }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	for _, d := range answer.Data {
		rows = append(rows, d.Embedding)
	}
	return rows
}
