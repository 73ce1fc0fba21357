package training

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// TestScoresOfOneRow: where every answer is one token, the row of logits in
// which the right one is looked up says of all of them what a pass for each
// says, of examples that are cut too.
func TestScoresOfOneRow(t *testing.T) {
	base := openTiny(t, "llama-gqa")
	task, err := dataset.NewTask("rte")
	if err != nil {
		t.Fatal(err)
	}
	task.Answers = []string{"n", "y"}
	var rows strings.Builder
	rows.WriteString("index\tsentence1\tsentence2\tlabel\n")
	for i := range 9 {
		fmt.Fprintf(&rows, "%d\t<s>%s b\tb %d\t%s\n", i, strings.Repeat("a", 7*i), i, []string{"not_entailment", "entailment"}[i%2])
	}
	path := filepath.Join(t.TempDir(), "dev.tsv")
	if err := os.WriteFile(path, []byte(rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, end := range []int32{base.End(), -1} {
		encoder := base.encoder(64)
		encoder.End = end
		set, err := dataset.Open([]string{path}, encoder, dataset.Options{Task: task})
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		if cut := set.Report().Cut; cut == 0 || cut == set.Len() {
			t.Fatalf("%d of %d examples are cut", cut, set.Len())
		}
		e := &evaluator{model: base.Model, encoder: encoder, pass: models.NewPass(pool)}
		var batch []Sequence
		var examples []dataset.Example
		for i := range set.Len() {
			q, err := set.Sequence(i)
			if err != nil {
				t.Fatal(err)
			}
			x, err := set.Example(i)
			if err != nil {
				t.Fatal(err)
			}
			batch, examples = append(batch, q), append(examples, x)
		}
		answers, ok, err := e.single(examples, batch, task)
		if err != nil || !ok {
			t.Fatal("the answers are not looked up in one row")
		}
		fast, _ := e.choices(batch, answers)
		slow, err := e.scores(context.Background(), examples, task)
		if err != nil {
			t.Fatal(err)
		}
		for i := range examples {
			if a, b := fast[2*i+1]-fast[2*i], slow[2*i+1]-slow[2*i]; math.Abs(a-b) > 1e-5 {
				t.Errorf("end %d, example %d: the answers are %v apart in one row, %v in passes of their own", end, i, a, b)
			}
		}
	}
}

// TestContextIsShared: what stands before the first token, and an answer that
// is yet to come, take their part of the base's context.
func TestContextIsShared(t *testing.T) {
	for _, method := range []string{"prefix", "prompt", "lora"} {
		c := tinyConfig(t, method)
		c.VirtualTokens, c.MaxSteps, c.MaxLength = 40, 2, 0
		long := fmt.Sprintf(`{"prompt": "%s", "completion": "it is x"}`, strings.Repeat("why? ", 40))
		if err := os.WriteFile(c.Data[0], []byte(long), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		a := Assessment{Data: c.Data, Format: "auto", Columns: c.Columns, Adapter: opened(t, c.Output), ExactMatch: 8, Threads: 1}
		if _, samples, err := Assess(context.Background(), openTiny(t, "llama-gqa"), a); err != nil || len(samples) != 1 {
			t.Errorf("%s: %d samples, %v", method, len(samples), err)
		}
		a.ExactMatch = 64
		if _, _, err := Assess(context.Background(), openTiny(t, "llama-gqa"), a); err == nil || !strings.Contains(err.Error(), "--exact-match: 64") {
			t.Errorf("%s: %v", method, err)
		}
		b := Benchmark{Method: method, Batch: 1, Length: 65, Steps: 1, R: 2, Threads: 1}
		if _, err := Bench(context.Background(), openTiny(t, "llama-gqa"), b); err == nil || !strings.Contains(err.Error(), "--max-length: 65") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// opened is the adapter in a folder.
func opened(t *testing.T, dir string) *adapters.Folder {
	t.Helper()
	folder, err := adapters.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestAnswersOfAConversation: what is wanted is what the assistant says first,
// without the token by which its turn ends.
func TestAnswersOfAConversation(t *testing.T) {
	e := &evaluator{encoder: &dataset.Encoder{Tokenizer: letters(t)}}
	x := dataset.Example{Text: "user: a? b</s>\nuser: c? d</s>\n", Learn: []tokenizer.Span{{Start: 9, End: 15}, {Start: 24, End: 30}}}
	if got, err := e.said(x, func(token int32) bool { return token == 1 }); got != "b" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
