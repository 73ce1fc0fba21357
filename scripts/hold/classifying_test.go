package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// mute is an Observer of a run that says nothing.
type mute struct{}

func (mute) Note(string, ...any)           {}
func (mute) Start(int, int)                {}
func (mute) Step(training.StepReport)      {}
func (mute) Validated(training.StepReport) {}

// capitals is a tokenizer of a token for each letter, with one before and one behind a
// text and between two.
func capitals(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	vocabulary := map[string]int{"<s>": 0, "</s>": 1}
	for _, c := range " abcdefghijklmnopqrstuvwxyz" {
		vocabulary[string(c)] = 3 + len(vocabulary) // up to 31: the golden bases have 32
	}
	special := func(id, text string) map[string]any {
		return map[string]any{"id": id, "ids": []int{vocabulary[text]}, "tokens": []string{text}}
	}
	piece := func(kind, id string, typeID int) map[string]any {
		return map[string]any{kind: map[string]any{"id": id, "type_id": typeID}}
	}
	var added []map[string]any
	for _, text := range []string{"<s>", "</s>"} {
		added = append(added, map[string]any{"id": vocabulary[text], "content": text, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
	}
	b, err := json.Marshal(map[string]any{
		"added_tokens": added,
		"model":        map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{}, "unk_token": "</s>"},
		"post_processor": map[string]any{
			"type":           "TemplateProcessing",
			"single":         []any{piece("SpecialToken", "<s>", 0), piece("Sequence", "A", 0), piece("SpecialToken", "</s>", 0)},
			"pair":           []any{piece("SpecialToken", "<s>", 0), piece("Sequence", "A", 0), piece("SpecialToken", "</s>", 0), piece("Sequence", "B", 1), piece("SpecialToken", "</s>", 1)},
			"special_tokens": map[string]any{"<s>": special("<s>", "<s>"), "</s>": special("</s>", "</s>")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := tokenizer.FromJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestTrainedHeadsAreServed trains heads and holds the scores that the engine answers
// with, all texts at once, against those of the trainer's own evaluation: equal bits.
func TestTrainedHeadsAreServed(t *testing.T) {
	rows := []map[string]any{
		{"text": "ab cd", "text_pair": "ef", "label": "no"}, {"text": "xyz", "text_pair": "a b c d e f", "label": "yes"}, {"text": "q", "label": "yes"},
		{"text": strings.Repeat("long ", 30), "text_pair": strings.Repeat("longer ", 9), "label": "no"}, {"text": strings.Repeat("abc ", 40), "label": "perhaps"},
	}
	var lines []string
	for _, r := range rows {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	data := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(data, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	columns := dataset.Columns{Text: "text", Pair: "text_pair", Label: "label"}
	text, pool := capitals(t), modeltest.Pool(t, 1)
	for _, base := range []string{"encoders/bert", "encoders/deberta", "encoders/modernbert", "modernbert-mean", "llama-gqa"} {
		for _, method := range []string{"lora", "bitfit", "houlsby", "prompt", "prefix"} {
			if base == "llama-gqa" && method == "bitfit" || base == "encoders/deberta" && method == "prefix" { // which are refused
				continue
			}
			t.Run(base+"/"+method, func(t *testing.T) {
				var path string
				if base == "modernbert-mean" {
					path = modeltest.OwnHead(t, "heads/modernbert/own-mean")
				} else {
					path = modeltest.Goldens(t, base)
				}
				m, source, err := models.Open(path, models.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer source.Close()
				opened := &training.Opened{Path: path, Model: m, Source: source, Tokenizer: text}
				const length = 48
				c := training.Config{
					Base: base, Method: method, Output: filepath.Join(t.TempDir(), "adapters", "mine"), Data: []string{data}, Objective: "classify",
					Format: "auto", Turns: "all", MaxLength: length, Columns: columns, MaxSteps: 3, BatchSize: 2, GradAccum: 1, LR: 1e-2,
					Schedule: "constant", Optimizer: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Threads: 1,
				}
				c.MethodConfig = training.MethodConfig{
					Choice: adapters.Choice{R: 2, VirtualTokens: 3, Reduction: 4}, PlusEmbedding: 1e-6, Gamma: 1, Interval: 1, BlockInterval: 1, GaloreRank: 4, GaloreGap: 1, GaloreScale: 1,
				}
				if strings.Contains(base, "modernbert") && method == "lora" { // of which PEFT has no default
					c.Targets = []string{"Wqkv"}
				}
				c.ZeroBiases = strings.Contains(base, "modernbert")
				run, err := training.NewRun(c, opened, mute{})
				if err != nil {
					t.Fatal(err)
				}
				_, err = run.Do(context.Background())
				if err = errors.Join(err, run.Close()); err != nil {
					t.Fatal(err)
				}
				folder, err := adapters.Open(c.Output)
				if err != nil {
					t.Fatal(err)
				}
				var want []kernels.Matrix
				if _, _, err := training.Assess(context.Background(), opened, training.Assessment{
					Data: []string{data}, Format: "auto", Columns: columns, Turns: "all", MaxLength: length, Adapter: folder, Threads: 1,
					Each: func(scores kernels.Matrix) {
						own := kernels.NewMatrix(scores.Rows, scores.Cols)
						own.Copy(scores)
						want = append(want, own)
					},
				}); err != nil {
					t.Fatal(err)
				}
				for i, got := range served(t, m, pool, filepath.Dir(c.Output), text, rows, length) {
					if !slices.Equal(got.Row(0), want[i].Row(0)) || len(got.Row(0)) != 3 {
						t.Errorf("row %d: served %v, trained %v", i, got.Row(0), want[i].Row(0))
					}
				}
			})
		}
	}
}

// served are the scores of rows under the adapter of a folder, by the engine.
func served(t *testing.T, m models.Model, pool *kernels.Pool, dir string, text *tokenizer.Tokenizer, rows []map[string]any, length int) (all []kernels.Matrix) {
	t.Helper()
	ctx := context.Background()
	known, err := catalogue.New(func(_ context.Context, s catalogue.Source) (catalogue.Adapter, error) {
		folder, err := adapters.Open(s.Dir)
		if err != nil {
			return nil, err
		}
		return adapters.Load(m, folder)
	}, catalogue.Options{Dir: dir, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	if _, err := known.Load(ctx, "mine"); err != nil {
		t.Fatal(err)
	}
	engine, err := runtime.New(m, nil, pool, runtime.Options{CacheBlocks: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close(ctx)
	var streams []*runtime.Stream
	for _, row := range rows {
		lease, err := known.Acquire("mine", "")
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release()
		a := lease.Adapter()
		room := min(length, m.Config().Context-a.PrefixTokens()-a.VirtualTokens())
		r := &runtime.Request{Lease: lease, Encode: runtime.EncodeScores, Logprobs: -1, PromptLogprobs: -1}
		parts := [2][]int32{}
		for i, key := range []string{"text", "text_pair"} {
			s, _ := row[key].(string)
			if parts[i], err = text.Encode(s, false); err != nil {
				t.Fatal(err)
			}
		}
		if row["text_pair"] == nil {
			before, after := text.Around(parts[0])
			r.Prompt = slices.Concat(before, tokenizer.Cut(parts[0], min(len(parts[0]), room-len(before)-len(after)), false), after)
		} else {
			parts[0], parts[1] = tokenizer.CutPair(parts[0], parts[1], room-3, false)
			ids, types := text.JoinPair(parts[0], parts[1])
			if r.Prompt = ids; m.Config().TokenTypes > 1 {
				r.Types = types
			}
		}
		stream, err := engine.Submit(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	for _, stream := range streams {
		for {
			event, err := stream.Next(ctx)
			if err != nil {
				break
			}
			if !event.Encoded.Empty() {
				all = append(all, event.Encoded)
			}
		}
	}
	if len(all) != len(rows) {
		t.Fatalf("%d of %d rows are answered", len(all), len(rows))
	}
	return all
}
