package training

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// openEncoder opens a golden encoder, or a decoder, with a tokenizer of few letters.
// Training changes it.
func openEncoder(t testing.TB, base string) *Opened {
	t.Helper()
	return openWith(t, modeltest.Goldens(t, base))
}

func openWith(t testing.TB, dir string) *Opened {
	t.Helper()
	m, s, err := models.Open(dir, models.Options{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	o := &Opened{Path: dir, Model: m, Source: s, Tokenizer: letters(t)}
	t.Cleanup(func() { o.Close() })
	return o
}

// rowsOf writes rows as JSON, a line each.
func rowsOf(t testing.TB, rows ...any) string {
	t.Helper()
	var b strings.Builder
	for _, r := range rows {
		if text, ok := r.(string); ok {
			fmt.Fprintln(&b, text)
			continue
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tableOf writes a table as CSV.
func tableOf(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// headRows are rows for each objective of a head, with the classes that they name.
func headRows(t testing.TB, objective string) (path string, classes []string) {
	var rows []any
	for i := range 13 {
		text := fmt.Sprintf("ab %s", strings.Repeat("cd ", i%4+1))
		switch objective {
		case tags:
			rows = append(rows, map[string]any{"tokens": []string{"ab", "c", "def"}, "tags": []string{"O", []string{"B-X", "O"}[i%2], "I-X"}})
		case multiLabels:
			rows = append(rows, map[string]any{"text": text, "label": [][]string{{}, {"a"}, {"c", "a"}, {"b"}}[i%4]})
		case regresses:
			rows = append(rows, map[string]any{"text": text, "text_pair": "e", "label": float64(i) / 4})
		default:
			rows = append(rows, map[string]any{"text": text, "label": []string{"no", "yes", "perhaps"}[i%3]})
		}
	}
	path = rowsOf(t, rows...)
	return path, map[string][]string{
		tags: {"B-X", "I-X", "O"}, multiLabels: {"a", "b", "c"}, regresses: {"LABEL_0"}, classifies: {"no", "perhaps", "yes"},
	}[objective]
}

// headConfig is a run of a few steps for a head.
func headConfig(t testing.TB, method, objective string) Config {
	t.Helper()
	c := tinyConfig(t, method)
	c.Objective, c.MaxSteps, c.Warmup = objective, 6, 0
	path, _ := headRows(t, objective)
	c.Data, c.Validation = []string{path}, []string{path}
	c.Columns.Text, c.Columns.Pair, c.Columns.Label, c.Columns.Words, c.Columns.Tags = "text", "text_pair", "label", "tokens", "tags"
	return c
}

func trainHead(t testing.TB, c Config, base *Opened, q *quiet) (*Summary, error) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := NewRun(c, base, q)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Plan(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	q.stop = stop
	return r.Do(ctx)
}

// TestObjectives trains a head for each objective, which has the classes of the data, and
// what is read back computes the same bits.
func TestObjectives(t *testing.T) {
	for _, c := range []struct{ base, method, objective string }{
		{"encoders/bert", "lora", classifies}, {"encoders/roberta", "lora", tags}, {"encoders/deberta", "lora", multiLabels}, {"encoders/bert", "bitfit", regresses},
		{"llama-gqa", "lora", classifies}, {"llama-gqa", "lora", tags},
		{"encoders/bert", "full", classifies}, {"encoders/mpnet", "full", regresses}, {"encoders/deberta", "full", multiLabels}, {"encoders/roberta", "full", tags},
		{"llama-gqa", "full", classifies},
	} {
		t.Run(strings.Join([]string{c.base, c.method, c.objective}, "-"), func(t *testing.T) {
			base, config := openEncoder(t, c.base), headConfig(t, c.method, c.objective)
			_, classes := headRows(t, c.objective)
			s, err := trainHead(t, config, base, &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Plan.Activations != s.Peak.Activations {
				t.Errorf("planned %+v, measured %+v", s.Plan, s.Peak)
			}
			var got *models.Classes
			if c.method == "full" {
				m, source, err := models.Open(config.Output, models.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer source.Close()
				got = m.Config().Classes
			} else {
				folder, err := adapters.Open(config.Output)
				if err != nil {
					t.Fatal(err)
				}
				a, err := adapters.Load(base.Model, folder)
				if err != nil {
					t.Fatal(err)
				}
				got = a.Classes()
			}
			if fmt.Sprint(got.Names) != fmt.Sprint(classes) || got.Problem != objectives[c.objective].Problem || got.Task != objectives[c.objective].Task {
				t.Errorf("its classes are %+v, want %v", got, classes)
			}
		})
	}
}

// TestEncodersGenerateNothing: what a base cannot learn is refused by name.
func TestEncodersGenerateNothing(t *testing.T) {
	c := headConfig(t, "lora", generates)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); !errors.Is(err, models.ErrTask) {
		t.Error(err)
	}
	c = headConfig(t, "lora", classifies)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert-masked"), &quiet{}); !errors.Is(err, models.ErrTask) || !strings.Contains(err.Error(), "pooler") {
		t.Error(err)
	}
}

// TestResumedHeads: a run of a head that was interrupted and goes on ends with the bits of
// one that was not, with heads that are an adapter's or the model's own.
func TestResumedHeads(t *testing.T) {
	for _, c := range []struct{ base, method, objective string }{
		{"encoders/bert", "lora", tags}, {"encoders/roberta", "bitfit", classifies}, {"encoders/bert", "lisa", multiLabels}, {"encoders/distilbert", "block-wise", classifies},
		{"encoders/bert", "houlsby", regresses}, {"encoders/electra", "galore", classifies}, {"llama-gqa", "full", classifies},
	} {
		t.Run(c.base+"/"+c.method, func(t *testing.T) {
			config := headConfig(t, c.method, c.objective)
			config.FreezeOutside = c.method == "lisa"
			if _, err := trainHead(t, config, openEncoder(t, c.base), &quiet{}); err != nil {
				t.Fatal(err)
			}
			want := saved(t, config.Output)
			config.Output = filepath.Join(t.TempDir(), "out")
			if _, err := trainHead(t, config, openEncoder(t, c.base), &quiet{stopAt: 3}); !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			config.Resume, config.Threads = Resume{On: true}, 1
			others := config
			if _, others.Classes = headRows(t, c.objective); len(others.Classes) > 1 {
				slices.Reverse(others.Classes)
			} else {
				others.Classes = []string{"z"}
			}
			if _, err := trainHead(t, others, openEncoder(t, c.base), &quiet{}); err == nil || !strings.Contains(err.Error(), "--classes: was ") {
				t.Errorf("a run goes on with other classes: %v", err)
			}
			if _, err := trainHead(t, config, openEncoder(t, c.base), &quiet{}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(saved(t, config.Output), want) {
				t.Error("interrupted and resumed, the result has other bits")
			}
		})
	}
}

// TestHeadFaults: what is wrong with rows, classes and settings of a head is named, a row
// by its file and line.
func TestHeadFaults(t *testing.T) {
	good := `{"text":"a","label":"no"}`
	for _, c := range []struct {
		name   string
		rows   []any
		change func(c *Config)
		want   string
	}{
		{"a label of no class", []any{good, `{"text":"b","label":"yes"}`}, func(c *Config) { c.Classes = []string{"no", "never"} }, `rows.jsonl:2: column "label" is "yes", which is none of the 2 classes: no, never`},
		{"a number that is no class's", []any{`{"text":"b","label":2}`}, func(c *Config) { c.Classes = []string{"no", "never"} }, `rows.jsonl:1: column "label" is "2", which is none of the 2 classes`},
		{"no label", []any{good, `{"text":"b"}`}, nil, `rows.jsonl:2: column "label" is missing`},
		{"null", []any{good, `{"text":"b","label":null}`}, nil, `rows.jsonl:2: column "label" is null`},
		{"blank", []any{good, `{"text":"b","label":" "}`}, nil, `rows.jsonl:2: column "label": there is no label`},
		{"-1", []any{good, `{"text":"b","label":-1}`}, nil, `rows.jsonl:2: column "label": -1 says that there is no label`},
		{"a number among names", []any{good, `{"text":"b","label":0.5}`}, nil, `rows.jsonl:2: column "label": 0.5 is a number where the names of classes are: --objective regress`},
		{"a whole number among names", []any{good, `{"text":"b","label":2}`}, nil, `rows.jsonl:2: column "label": 2 is a number where the names of classes are, such as "no" (`},
		{"a name after numbers", []any{`{"text":"b","label":2}`, `{"text":"b","label":3}`, good}, nil, `rows.jsonl:1: column "label": 2 is a number where the names of classes are, such as "no" (`},
		{"a whole number in a table", []any{good}, func(c *Config) { c.Data = []string{tableOf(t, "text,label\na,x\nb,2\n")} }, `rows.csv:3: column "label": 2 is a number where the names`},
		{"a number among labels", []any{`{"text":"b","label":["a",2]}`}, nil, `rows.jsonl:1: column "label": 2 is a number where the names`},
		{"a number among tags", []any{`{"tokens":["a","b"],"tags":["O",2]}`}, nil, `rows.jsonl:1: column "tags": 2 is a number where the names`},
		{"a name among numbers", []any{`{"text":"b","label":0.5}`, good}, nil, `rows.jsonl:2: column "label" is "no", a text where numbers are: --objective classify`},
		{"NaN", []any{`{"text":"b","label":NaN}`}, func(c *Config) { c.Objective = regresses }, `rows.jsonl:1: not a JSON object`},
		{"NaN in a table", []any{good}, func(c *Config) { c.Data, c.Objective = []string{tableOf(t, "text,label\na,0.5\nb,nan\n")}, regresses }, `rows.csv:3: column "label" is "nan", want a finite number`},
		{"no label in a table", []any{good}, func(c *Config) { c.Data = []string{tableOf(t, "text,label\na,x\nb,\n")} }, `rows.csv:3: column "label": there is no label`},
		{"too large", []any{`{"text":"b","label":1e39}`}, func(c *Config) { c.Objective = regresses }, `rows.jsonl:1: column "label" is "1e39", want a finite number`},
		{"one class", []any{good, good}, nil, "the rows have 1 classes (no), and nothing to tell apart"},
		{"no text", []any{good, `{"text":"","label":"yes"}`}, nil, `rows.jsonl:2: column "text" is empty`},
		{"a column that nothing reads", []any{good, `{"text":"a","label":"yes","why":"so"}`}, nil, `rows.jsonl:2: column "why" is not read`},
		{"no list", []any{`{"text":"b","label":"a"}`}, func(c *Config) { c.Objective = multiLabels }, `rows.jsonl:1: column "label" is "a", want a list`},
		{"twice", []any{`{"text":"b","label":["a","a"]}`}, nil, `rows.jsonl:1: column "label" has "a" twice`},
		{"another label in the validation", []any{good, `{"text":"b","label":"yes"}`}, func(c *Config) { c.Validation = []string{rowsOf(t, `{"text":"b","label":"maybe"}`)} }, `rows.jsonl:1: column "label" is "maybe", which is none of the 2 classes`},
		{"fewer tags", []any{`{"tokens":["a","b"],"tags":["O"]}`, `{"tokens":["a"],"tags":["X"]}`}, nil, `rows.jsonl:1: column "tokens" has 2 words, and "tags" 1 tags`},
		{"fewer tags, and one class", []any{`{"tokens":["a","b"],"tags":["O"]}`}, nil, `rows.jsonl:1: column "tokens" has 2 words, and "tags" 1 tags`},
		{"more tags", []any{`{"tokens":["a"],"tags":["O","X"]}`}, nil, `rows.jsonl:1: column "tokens" has 1 words, and "tags" 2 tags`},
		{"an empty word", []any{`{"tokens":["a",""],"tags":["O","X"]}`}, nil, `rows.jsonl:1: column "tokens": word 1 is empty`},
		{"a tag of no class", []any{`{"tokens":["a","b"],"tags":["O",0.5]}`}, nil, `rows.jsonl:1: column "tags": 0.5 is a number`},
		{"weights", []any{good, `{"text":"b","label":"yes"}`}, func(c *Config) { c.Weights = []float64{1} }, "--class-weights: 1 weights for 2 classes: [no yes]"},
		{"weights of a regression", []any{`{"text":"b","label":0.5}`}, func(c *Config) { c.Weights = []float64{1} }, "--class-weights: they are of classes that exclude each other"},
		{"smoothing of a regression", []any{`{"text":"b","label":0.5}`}, func(c *Config) { c.Smoothing = 0.1 }, "--label-smoothing"},
		{"classes of a regression", []any{`{"text":"b","label":0.5}`}, func(c *Config) { c.Classes = []string{"a", "b"} }, "a regression has one number, and there are 2 names for it"},
		{"a format", []any{good, `{"text":"b","label":"yes"}`}, func(c *Config) { c.Format = "chat" }, "--format: it is chat, and rows for a head are read by their columns"},
		{"turns", []any{good, `{"text":"b","label":"yes"}`}, func(c *Config) { c.Turns = "last" }, "--turns: it is last, and texts for a head are no conversations"},
		{"a metric", []any{good, `{"text":"b","label":"yes"}`}, func(c *Config) { c.BestMetric, c.Best, c.EvalEvery = "rouge", true, 1 }, `--best-metric: a validation measures no "rouge" here: want one of loss, accuracy, f1, matthews`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := headConfig(t, "lora", classifies)
			config.Objective = ""
			config.Data = []string{rowsOf(t, c.rows...)}
			config.Validation = config.Data
			if c.change != nil {
				c.change(&config)
			}
			_, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if _, err := os.Stat(config.Output); err == nil {
				t.Error("the output folder is left")
			}
		})
	}
}

// TestNumbersAsNames: "2" is a name, and so is 2 where --classes says so.
func TestNumbersAsNames(t *testing.T) {
	for _, c := range []struct {
		row     string
		classes []string
	}{{`{"text":"b","label":"2"}`, nil}, {`{"text":"b","label":2}`, []string{"x", "2"}}, {`{"text":"b","label":1}`, []string{"x", "y"}}} {
		config := headConfig(t, "lora", classifies)
		config.Data, config.Validation, config.Classes, config.MaxSteps = []string{rowsOf(t, `{"text":"a","label":"x"}`, c.row)}, nil, c.classes, 1
		if _, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
			t.Errorf("%s: %v", c.row, err)
		}
	}
}

// TestHeadAlone: an adapter that adapts no module trains a head on a base that stays as it
// is, by every method that takes names of modules.
func TestHeadAlone(t *testing.T) {
	for _, method := range []string{"lora", "dora", "vera", "miss", "ia3", "ln-tuning", "bitfit"} {
		c := headConfig(t, method, classifies)
		c.Targets, c.MaxSteps = []string{"dummy-target-modules"}, 2
		if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		folder := opened(t, c.Output)
		if tensors := folder.All(); len(tensors) != 2 {
			t.Errorf("%s: it has %d tensors, want the classifier's two", method, len(tensors))
		}
		if !strings.Contains(string(folder.Config.JSON()), `"target_modules": "dummy-target-modules"`) {
			t.Errorf("%s: %s", method, folder.Config.JSON())
		}
		next := headConfig(t, method, classifies)
		next.InitAdapter, next.MaxSteps = c.Output, 1
		if _, err := trainHead(t, next, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
			t.Errorf("%s goes on: %v", method, err)
		}
	}
}

// TestSettingsOfAHead: where text is learnt, what only a head has is refused, and so is a
// row that a head would read, by what would read it.
func TestSettingsOfAHead(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"--classes: of a head, and the run learns text":                                                      func(c *Config) { c.Classes = []string{"a", "b"} },
		"--class-weights, --label-smoothing: of a head":                                                      func(c *Config) { c.Weights, c.Smoothing = []float64{1, 2}, 0.1 },
		"--objective classify trains a head (or multi-label, regress, tag)":                                  func(c *Config) { c.Smoothing = 0.1 },
		`rows.jsonl:1: column "label" is not read where text is learnt: peft-train run --objective classify`: func(c *Config) { c.Data = []string{rowsOf(t, `{"text":"a","label":"no"}`)} },
		"peft-train run --objective tag learns tags of words":                                                func(c *Config) { c.Data = []string{rowsOf(t, `{"tokens":["a"],"tags":["O"]}`)} },
		"peft-train run --objective classify (or multi-label, or regress) learns labels":                     func(c *Config) { c.Data = []string{rowsOf(t, `{"premise":"a","label":1}`)} },
	} {
		c := headConfig(t, "lora", "")
		c.Data, c.Validation = tinyConfig(t, "lora").Data, nil
		change(&c)
		if _, err := trainHead(t, c, openTiny(t, "llama-gqa"), &quiet{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	c := headConfig(t, "lora", "")
	c.Validation, c.BestMetric = nil, "accuracy"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--best-metric: nothing to validate on") {
		t.Error(err)
	}
}

// TestNoHeadToMeasure: what is measured of an encoder is a head.
func TestNoHeadToMeasure(t *testing.T) {
	a := Assessment{Data: []string{rowsOf(t, `{"text":"a","label":"no"}`)}, Format: "auto", Columns: headConfig(t, "lora", classifies).Columns, Threads: 1}
	if _, _, err := Assess(context.Background(), openEncoder(t, "encoders/bert"), a); !errors.Is(err, models.ErrTask) || !strings.Contains(err.Error(), "--adapter names the folder of an adapter that has one") {
		t.Error(err)
	}
}

// TestBestMetric: the best checkpoint is chosen by the metric that is named.
func TestBestMetric(t *testing.T) {
	for metric, lower := range map[string]bool{"": true, "loss": true, "accuracy": false} {
		c := headConfig(t, "lora", classifies)
		c.BestMetric, c.Best, c.EvalEvery, c.LR = metric, true, 1, 0.3
		s, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{})
		if err != nil {
			t.Fatal(err)
		}
		reports, err := readJournal(filepath.Join(c.Output, "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			name := cmp.Or(metric, "loss")
			if v, ok := r.Validation[name]; ok && (lower && v < s.Validation[name] || !lower && v > s.Validation[name]) {
				t.Errorf("%s: step %d has %v, and kept is %v", name, r.Step, v, s.Validation[name])
			}
		}
	}
}

// TestBestMetricOfNothing: a metric that chooses nothing is refused.
func TestBestMetricOfNothing(t *testing.T) {
	c := headConfig(t, "lora", classifies)
	c.BestMetric, c.EvalEvery = "accuracy", 1
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--best-metric: nothing is chosen by it: --keep-best or --patience") {
		t.Error(err)
	}
	c.Patience = 2
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// TestHeadIsNoText: what says how text is read is refused where a head is measured.
func TestHeadIsNoText(t *testing.T) {
	c := headConfig(t, "lora", classifies)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
		t.Fatal(err)
	}
	folder, err := adapters.Open(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	good := Assessment{Data: c.Data, Format: "auto", Turns: "all", Columns: c.Columns, Adapter: folder, Threads: 1}
	chat, last := good, good
	chat.Format, last.Turns = "chat", "last"
	for want, a := range map[string]Assessment{"": good, "--format: it is chat": chat, "--turns: it is last": last} {
		_, _, err := Assess(t.Context(), openEncoder(t, "encoders/bert"), a)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestHeadGoesOn: an adapter with a head is trained on with its classes, and with others
// it is refused.
func TestHeadGoesOn(t *testing.T) {
	c := headConfig(t, "lora", classifies)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
		t.Fatal(err)
	}
	c.InitAdapter, c.Output = c.Output, filepath.Join(t.TempDir(), "on")
	c.Data = []string{rowsOf(t, `{"text":"a","label":"yes"}`, `{"text":"b","label":"no"}`)} // not all of its classes
	c.Validation = nil
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
		t.Fatal(err)
	}
	c.Output, c.Classes = filepath.Join(t.TempDir(), "other"), []string{"yes", "no"}
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); err == nil || !strings.Contains(err.Error(), "its head tells [no perhaps yes] apart") {
		t.Error(err)
	}
}

// TestHeadOfAnotherProblem: an adapter does not go on with scores that are to mean
// something else than what its files say of them.
func TestHeadOfAnotherProblem(t *testing.T) {
	for _, c := range []struct{ was, now, want string }{
		{multiLabels, classifies, "the scores of its head are a multi_label_classification, and the labels a single_label_classification: --objective"},
		{classifies, multiLabels, "the scores of its head are a single_label_classification, and the labels a multi_label_classification: --objective"},
	} {
		config := headConfig(t, "lora", c.was)
		_, config.Classes = headRows(t, classifies)
		single := []any{`{"text":"a","label":"yes"}`, `{"text":"b","label":"no"}`}
		several := []any{`{"text":"a","label":["yes"]}`, `{"text":"b","label":["no"]}`}
		rows := map[string][]any{classifies: single, multiLabels: several}
		config.Data, config.Validation = []string{rowsOf(t, rows[c.was]...)}, nil
		if _, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
			t.Fatal(err)
		}
		if c.was == classifies { // it is what one is without a problem_type
			path := filepath.Join(config.Output, adapters.ClassesFile)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var file map[string]any
			if err := json.Unmarshal(b, &file); err != nil {
				t.Fatal(err)
			}
			delete(file, "problem_type")
			if b, err = json.Marshal(file); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		config.InitAdapter, config.Output, config.Objective = config.Output, filepath.Join(t.TempDir(), "on"), c.now
		config.Data = []string{rowsOf(t, rows[c.now]...)}
		if _, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v\nwant %s", err, c.want)
		}
		config.Objective, config.Data = c.was, []string{rowsOf(t, rows[c.was]...)}
		if _, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
			t.Error(err)
		}
	}
}

// TestHeadOfAForm: a head of AdapterHub's form is served, and not trained on.
func TestHeadOfAForm(t *testing.T) {
	config := headConfig(t, "lora", classifies)
	if _, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
		t.Fatal(err)
	}
	formed(t, config.Output)
	config.InitAdapter, config.Output = config.Output, filepath.Join(t.TempDir(), "on")
	const want = "--init-adapter: its head is of AdapterHub's form (adapterhub_head), which is not trained"
	if _, err := trainHead(t, config, openEncoder(t, "encoders/bert"), &quiet{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

// formed makes the head of an adapter on BERT the same one in AdapterHub's form.
func formed(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "adapter_model.safetensors")
	file, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Tensor
	for _, name := range file.Names() {
		x, err := file.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		x.Data, x.Name = slices.Clone(x.Data), strings.Replace(x.Name, ".classifier.", ".classifier.1.", 1)
		tensors = append(tensors, x)
	}
	if err := errors.Join(file.Close(), safetensors.WriteFile(path, tensors, nil)); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, adapters.ClassesFile)
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(b, []byte("{"), []byte(`{"adapterhub_head":{"layers":1,"bias":true},`), 1), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPublishedHead: what is sent to a server has the names of the classes.
func TestPublishedHead(t *testing.T) {
	c := headConfig(t, "lora", tags)
	if _, err := trainHead(t, c, openEncoder(t, "encoders/bert"), &quiet{}); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := pack(&archive, c.Output); err != nil {
		t.Fatal(err)
	}
	plain, err := zstd.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	files := map[string]string{}
	for entries := tar.NewReader(plain); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		b, readErr := io.ReadAll(entries)
		if err = errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(b)
	}
	if !strings.Contains(files[adapters.ClassesFile], `"0": "B-X"`) {
		t.Errorf("sent are %v", slices.Sorted(maps.Keys(files)))
	}
	for _, want := range []string{"pipeline_tag: token-classification", "| 0 | B-X |", "BertForTokenClassification"} {
		if !strings.Contains(files["README.md"], want) {
			t.Errorf("the card has no %q:\n%s", want, files["README.md"])
		}
	}
}

// TestPredictionHeads: ModernBERT's dense layer and norm under the scores are the base's
// where its file has them, and else the adapter's, whether a text's first row is read or
// the mean of all.
func TestPredictionHeads(t *testing.T) {
	for _, c := range []struct{ folder, class, method string }{
		{"own-text", "ModernBertForMaskedLM", "lora"}, {"own-mean", "ModernBertForMaskedLM", "lora"}, {"own-mean", "ModernBertForMaskedLM", "prompt"},
		{"own-mean", "ModernBertForMaskedLM", "full"}, {"own-mean", "", "full"}, {"own-text", "ModernBertModel", "bitfit"},
	} {
		t.Run(c.folder+c.class+c.method, func(t *testing.T) {
			dir := modeltest.OwnHead(t, "heads/modernbert/"+c.folder)
			if c.class != "" {
				path := filepath.Join(dir, "config.json")
				b, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path, []byte(strings.Replace(string(b), "ModernBertForSequenceClassification", c.class, 1)), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			config := headConfig(t, c.method, classifies)
			config.Targets, config.ZeroBiases = map[string][]string{"lora": {"Wqkv"}}[c.method], c.method == "bitfit"
			s, err := trainHead(t, config, openWith(t, dir), &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Plan.Activations != s.Peak.Activations {
				t.Errorf("planned %+v, measured %+v", s.Plan, s.Peak)
			}
			if c.method == "full" {
				return
			}
			for _, tensor := range opened(t, config.Output).All() {
				name := tensor.Name
				if strings.Contains(name, "head.") && strings.HasSuffix(name, ".weight") {
					t.Errorf("the adapter has %s, and so has the base", name)
				}
			}
		})
	}
	config := headConfig(t, "lora", classifies)
	config.Targets = []string{"Wqkv"}
	if _, err := trainHead(t, config, openEncoder(t, "encoders/modernbert"), &quiet{}); err != nil {
		t.Fatal(err)
	}
	var brought []string
	for _, tensor := range opened(t, config.Output).All() {
		name := tensor.Name
		if i := strings.Index(name, "head."); i >= 0 {
			brought = append(brought, name[i:])
		}
	}
	if slices.Sort(brought); strings.Join(brought, " ") != "head.dense.weight head.norm.weight" {
		t.Errorf("of a base without them the adapter brings %q", brought)
	}
}
