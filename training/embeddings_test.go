package training

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/metric"
)

// comparedCase is what sentence-transformers makes of rows of texts.
type comparedCase struct {
	Modes   []string // nil: with all modules of the folder
	Columns [][]string
	Scores  []float64
	Loss    float64
	Tensors map[string][2]float64
	Found   map[string]float64
}

// rows writes the rows of a case.
func (c *comparedCase) rows(t *testing.T) string {
	names := []string{"anchor", "positive", "negative_1", "negative_2"}
	if c.Scores != nil {
		names = []string{"sentence1", "sentence2"}
	} else if len(c.Columns) == 3 {
		names[2] = "negative"
	}
	var rows []any
	for i := range c.Columns[0] {
		row := map[string]any{}
		for k, texts := range c.Columns {
			row[names[k]] = texts[i]
		}
		if c.Scores != nil {
			row["score"] = c.Scores[i]
		}
		rows = append(rows, row)
	}
	return rowsOf(t, rows...)
}

// openSentences opens the golden base of sentence-transformers, with its tokenizer.
func openSentences(t *testing.T) *Opened {
	t.Helper()
	base, err := Open(modeltest.Goldens(t, "sentences", "tiny"), BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	return base
}

// TestGoldenComparedTexts holds losses and first gradients against sentence-transformers',
// of a batch in one pass and in one a text.
func TestGoldenComparedTexts(t *testing.T) {
	var cases []comparedCase
	readJSON(t, modeltest.Goldens(t, "sentences", "contrastive.json"), &cases)
	for i := range cases {
		c := &cases[i]
		t.Run(fmt.Sprintf("%v-%d-scores-%d", c.Modes, len(c.Columns), len(c.Scores)), func(t *testing.T) {
			base := openSentences(t)
			recipe, err := base.recipe()
			if err != nil {
				t.Fatal(err)
			}
			if c.Modes != nil {
				modes, err := pooling.Parse(strings.Join(c.Modes, ","))
				if err != nil {
					t.Fatal(err)
				}
				recipe = &pooling.Recipe{Modes: modes}
			}
			encoder := base.encoder(20)
			encoder.Recipe = recipe
			set, err := dataset.Read([]string{c.rows(t)}, encoder, dataset.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close()
			var batch []Sequence
			for i := range set.Len() {
				texts, err := set.Sequences(i)
				if err != nil {
					t.Fatal(err)
				}
				batch = append(batch, texts...)
			}
			method := Full(base.Model)
			tr := NewTrainer(modeltest.Pool(t, 2), base.Model, method)
			tr.Objective = Objective{Recipe: recipe}
			method.Begin(0)
			r, err := tr.Gradients([][]Sequence{batch})
			if err != nil {
				t.Fatal(err)
			}
			if !(math.Abs(r.Loss-c.Loss) <= 2e-5*c.Loss) {
				t.Errorf("the loss is %.9g, want %.9g", r.Loss, c.Loss)
			}
			most := 0.0
			for _, want := range c.Tensors {
				most = max(most, want[0])
			}
			once := map[string][]float32{}
			for _, p := range method.Parameters() {
				once[p.Name] = slices.Clone(p.Grad)
				var sum, product float64
				for i, u := range modeltest.Numbers(p.Name, len(p.Grad), 1) {
					sum, product = sum+float64(p.Grad[i])*float64(p.Grad[i]), product+float64(p.Grad[i])*u
				}
				want := c.Tensors[p.Name] // none: the pooler
				if norm := math.Sqrt(sum); math.Abs(norm-want[0]) > 1e-4*want[0]+1e-6*most || math.Abs(product-want[1]) > 1e-4*want[0]+1e-6*most {
					t.Errorf("%s: its gradient is %.8g and %.8g, want %.8g and %.8g", p.Name, norm, product, want[0], want[1])
				}
				clear(p.Grad)
			}
			ends := make([]int, len(batch))
			for i := range ends {
				ends[i] = i + 1
			}
			weight := float64(set.Len())
			if loss := tr.compare(batch, ends, 0, 1/weight) / weight; math.Abs(loss-r.Loss) > 1e-12 {
				t.Errorf("in several passes the loss is %v, and in one %v", loss, r.Loss)
			}
			for _, p := range method.Parameters() {
				for i, v := range p.Grad {
					if math.Abs(float64(v-once[p.Name][i])) > 1e-5*most {
						t.Fatalf("%s: in several passes gradient %d is %v, and in one %v", p.Name, i, v, once[p.Name][i])
					}
				}
			}
			if c.Found != nil {
				e := &evaluator{model: base.Model, objective: tr.Objective, pass: models.NewPass(modeltest.Pool(t, 1)), batch: 8}
				got, err := e.compare(t.Context(), set)
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range c.Found {
					if math.Abs(got[name]-want) > 1e-9 {
						t.Errorf("%s is %v, want %v", name, got[name], want)
					}
				}
				if math.Abs(got["loss"]-c.Loss) > 2e-5*c.Loss {
					t.Errorf("the loss of the set is %v, want %v", got["loss"], c.Loss)
				}
			}
		})
	}
}

// comparedConfig is a run of a few steps over texts that are compared.
func comparedConfig(t *testing.T, method string) Config {
	t.Helper()
	c := tinyConfig(t, method)
	c.Objective, c.MaxSteps, c.Warmup, c.BatchSize, c.GradAccum = contrasts, 6, 0, 4, 2
	var rows []any
	for i := range 13 {
		rows = append(rows, map[string]any{"anchor": strings.Repeat("the dog ", i%4+1), "positive": "a dog runs", "negative": "a man is playing"})
	}
	c.Data = []string{rowsOf(t, rows...)}
	c.Validation = []string{rowsOf(t, `{"sentence1":"a man","sentence2":"the man","score":0.9}`, `{"sentence1":"a dog","sentence2":"flute","score":-0.5}`)}
	return c
}

// TestComparedRuns: whole models and adapters learn embeddings, what is planned is what is
// measured, and an interrupted run ends with the bits of one that was not.
func TestComparedRuns(t *testing.T) {
	for _, method := range []string{"lora", "bitfit", "houlsby", "ia3", "prefix", "full", "lisa"} {
		t.Run(method, func(t *testing.T) {
			c := comparedConfig(t, method)
			c.Dropout = 0.1
			if method == "prefix" || method == "full" { // where windows of one pass are not enough
				c.Data = []string{rowsOf(t, slices.Repeat([]any{map[string]any{"anchor": strings.Repeat("dog ", 9), "positive": strings.Repeat("man ", 9)}}, 13)...)}
				c.BatchSize = 13
			}
			s, err := trainHead(t, c, openSentences(t), &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Plan.Activations != s.Peak.Activations {
				t.Errorf("planned %+v, measured %+v", s.Plan, s.Peak)
			}
			if _, ok := s.Validation["spearman"]; !ok || len(s.Validation) != 3 {
				t.Errorf("measured are %v", s.Validation)
			}
			want := saved(t, c.Output)
			c.Output = filepath.Join(t.TempDir(), "out")
			if _, err := trainHead(t, c, openSentences(t), &quiet{stopAt: 3}); !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			c.Resume, c.Threads = Resume{On: true}, 1
			if _, err := trainHead(t, c, openSentences(t), &quiet{}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(saved(t, c.Output), want) {
				t.Error("interrupted and resumed, the result has other bits")
			}
			_, whole := wholes[method]
			recipe, err := pooling.Load(c.Output)
			if err != nil || whole != (recipe != nil) {
				t.Errorf("the output's recipe is %v, %v", recipe, err)
			}
			if whole && (!recipe.Normalize || len(recipe.Dense) != 1 || recipe.Prompt != "document" || !recipe.WithoutPrompt) {
				t.Errorf("the output's recipe is %+v", recipe)
			}
		})
	}
}

// TestComparedFaults: what is wrong with a row of texts is named with its file and line,
// and so are settings that mean nothing here.
func TestComparedFaults(t *testing.T) {
	good := `{"anchor":"a","positive":"dog"}`
	three := `{"anchor":"a","positive":"dog","negative":"man"}`
	for _, c := range []struct {
		name   string
		rows   []any
		change func(c *Config)
		want   string
	}{
		{"no columns", []any{`{"text":"a"}`}, nil, "rows.jsonl:1: no texts to compare: want the columns anchor and positive, with negative"},
		{"no positive", []any{good, `{"anchor":"a"}`}, nil, `rows.jsonl:2: column "positive" is missing`},
		{"null", []any{good, `{"anchor":null,"positive":"b"}`}, nil, `rows.jsonl:2: column "anchor" is null`},
		{"blank", []any{good, `{"anchor":"a","positive":" "}`}, nil, `rows.jsonl:2: column "positive" is empty`},
		{"no text", []any{good, `{"anchor":"a","positive":["b"]}`}, nil, `rows.jsonl:2: column "positive" is no text`},
		{"no negative", []any{three, good}, nil, `rows.jsonl:2: column "negative" is missing`},
		{"a negative more", []any{good, three}, nil, `rows.jsonl:2: column "negative" is not read`},
		{"a gap", []any{`{"anchor":"a","positive":"b","negative_2":"c"}`}, nil, `rows.jsonl:1: column "negative_2" is not read`},
		{"no score", []any{`{"sentence1":"a","sentence2":"b","score":0.5}`, `{"sentence1":"a","sentence2":"b"}`}, nil, `rows.jsonl:2: column "score" is missing`},
		{"no number", []any{`{"sentence1":"a","sentence2":"b","score":"near"}`}, nil, `rows.jsonl:1: column "score" is "near", a text where numbers are`},
		{"no cosine", []any{`{"sentence1":"a","sentence2":"b","score":4.2}`}, nil, `rows.jsonl:1: column "score" is 4.2, which is no cosine: want -1 to 1`},
		{"classes", []any{good}, func(c *Config) { c.Classes = []string{"a", "b"} }, "--classes: it is of a head, and --objective contrastive trains none"},
		{"a task", []any{good}, func(c *Config) { c.Task = "stsb" }, "--task: its rows have labels, and --objective contrastive"},
		{"packing", []any{good}, func(c *Config) { c.Packing = true }, "--packing: each text is computed by itself anyway"},
		{"a format", []any{good}, func(c *Config) { c.Format = "chat" }, "--format: it is chat"},
		{"a metric", []any{good}, func(c *Config) { c.BestMetric, c.Best, c.EvalEvery = "accuracy", true, 1 }, `want one of loss, pearson, spearman`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := comparedConfig(t, "lora")
			config.Data = []string{rowsOf(t, c.rows...)}
			if c.change != nil {
				c.change(&config)
			}
			err := config.Validate()
			if err == nil {
				_, err = trainHead(t, config, openSentences(t), &quiet{})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if _, err := os.Stat(config.Output); err == nil {
				t.Error("the output folder is left")
			}
		})
	}
}

// TestComparedAreNear: texts that belong together come nearer, and the best is kept by
// what finds them.
func TestComparedAreNear(t *testing.T) {
	c := comparedConfig(t, "lora")
	c.Data = []string{rowsOf(t, `{"anchor":"a man","positive":"flute"}`, `{"anchor":"the dog","positive":"playing"}`, `{"anchor":"search","positive":"document"}`, `{"anchor":"is","positive":"runs"}`)}
	c.Validation, c.BatchSize, c.MaxSteps, c.LR = c.Data, 4, 120, 0.05
	c.Best, c.BestMetric, c.EvalEvery = true, "accuracy@1", 20
	s, err := trainHead(t, c, openSentences(t), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Validation["accuracy@1"] != 1 || s.Validation["mrr@10"] != 1 || s.Loss > 1 {
		t.Errorf("after %d steps %v, loss %v", s.Steps, s.Validation, s.Loss)
	}
}

func TestRetrieval(t *testing.T) {
	if a, r := metric.Retrieval([]int{0, 1, 10, 0}); a != 0.5 || r != 2.5/4 {
		t.Error(a, r)
	}
}

// meddler changes a file of the base while the run trains.
type meddler struct {
	quiet
	path, text string
}

func (m *meddler) Start(int, int) {
	if err := os.WriteFile(m.path, []byte(m.text), 0o644); err != nil {
		panic(err)
	}
}

// TestSavedRecipeIsReadBack: a folder that says otherwise how embeddings are made than
// the run has learnt them is a fault, whatever it says.
func TestSavedRecipeIsReadBack(t *testing.T) {
	for name, change := range map[string]struct{ file, text string }{
		"another row":    {"1_Pooling/config.json", `{"embedding_dimension": 12, "pooling_mode": ["cls", "lasttoken"], "include_prompt": false}`},
		"with prompts":   {"1_Pooling/config.json", `{"embedding_dimension": 12, "pooling_mode": ["weightedmean", "max"], "include_prompt": true}`},
		"another prompt": {"config_sentence_transformers.json", `{"prompts": {"query": "search: "}, "default_prompt_name": "query"}`},
		"another width":  {"modules.json", `[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]`},
		"none":           {"modules.json", `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(modeltest.Goldens(t, "sentences", "tiny"))); err != nil {
				t.Fatal(err)
			}
			base, err := Open(dir, BaseConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			r, err := NewRun(comparedConfig(t, "full"), base, &meddler{path: filepath.Join(dir, change.file), text: change.text})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Do(t.Context()); err == nil || !strings.Contains(err.Error(), "read back") {
				t.Errorf("the run ends with %v", err)
			}
		})
	}
}
