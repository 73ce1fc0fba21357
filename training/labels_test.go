package training

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// labelled is a case of testdata/goldens/labels: rows, and what TRL makes of
// them.
type labelled struct {
	Name, Base, Turns string
	Template          *string
	Rows              []json.RawMessage
	Made              []struct {
		Tokens []int32 `json:"input_ids"`
		Labels []int32 `json:"labels"`
	}
	Loss float64
}

// TestLabels holds tokens and labels of rows against TRL's, and the loss of all
// of them, each in a sequence of its own and packed.
func TestLabels(t *testing.T) {
	var cases []labelled
	readJSON(t, modeltest.Goldens(t, "labels", "cases.json"), &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			base, err := Open(modeltest.Goldens(t, "labels", c.Base), BaseConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			if c.Template != nil {
				source, err := os.ReadFile(filepath.Join(modeltest.Goldens(t), "..", "templates", *c.Template))
				if err != nil {
					t.Fatal(err)
				}
				if base.Chat, err = chat.New(string(source)); err != nil {
					t.Fatal(err)
				}
				base.Chat = base.Chat.WithTokens(base.Tokenizer)
			}
			path := filepath.Join(t.TempDir(), "rows.jsonl")
			rows := make([][]byte, len(c.Rows))
			for i, r := range c.Rows {
				rows[i] = r
			}
			if err := os.WriteFile(path, bytes.Join(rows, []byte("\n")), 0o644); err != nil {
				t.Fatal(err)
			}
			longest := 0
			for _, row := range c.Made {
				longest = max(longest, len(row.Tokens))
			}
			for _, window := range []int{0, longest, 2*longest + 1, 1000} { // 0: none
				c.compare(t, base, path, window)
			}
		})
	}
}

func (c *labelled) compare(t *testing.T, base *Opened, path string, window int) {
	o := dataset.Options{Format: "auto", Columns: goldenColumns, Chat: base.conversations(c.Turns, time.Time{}), Pack: window > 0}
	length := window
	if window == 0 {
		length = 1000
	}
	set, err := dataset.Open([]string{path}, base.encoder(length), o)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	pool := kernels.NewPool(1)
	defer pool.Close()
	e := &evaluator{model: base.Model, encoder: base.encoder(length), pass: models.NewPass(pool)}
	loss, labels := 0.0, 0
	for i := range set.Len() {
		sequences, err := set.Sequences(i)
		if err != nil {
			t.Fatal(err)
		}
		loss += total(e.losses(sequences))
		for _, s := range sequences {
			labels += s.Labels()
		}
		if window > 0 {
			continue
		}
		want := c.Made[i]
		targets := make([]int32, len(want.Labels))
		for k := range targets {
			targets[k] = dataset.None
			if k+1 < len(want.Labels) && want.Labels[k+1] >= 0 {
				targets[k] = want.Labels[k+1]
			}
		}
		if got := sequences[0]; !slices.Equal(got.Tokens, want.Tokens) || !slices.Equal(got.Targets, targets) {
			t.Errorf("row %d, %s:\n%v\n%v\nwant\n%v\n%v", i, c.Rows[i], got.Tokens, got.Targets, want.Tokens, targets)
		}
	}
	if off := math.Abs(loss/float64(labels) - c.Loss); !(off < 1e-5) {
		t.Errorf("window %d: loss %v, want %v", window, loss/float64(labels), c.Loss)
	}
}

// goldenColumns are the columns by their usual names.
var goldenColumns = dataset.Columns{
	Prompt: "prompt", Completion: "completion", Instruction: "instruction", Input: "input", Output: "output", Messages: "messages", Text: "text",
}
