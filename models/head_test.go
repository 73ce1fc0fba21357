package models_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestOwnHeads holds the scores of bases that have a head of their own against
// transformers', and those of a batch against those of each text alone.
func TestOwnHeads(t *testing.T) {
	for _, name := range modeltest.Heads(t, true) {
		t.Run(name, func(t *testing.T) {
			m, source, err := models.Open(modeltest.OwnHead(t, name), models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			task := modeltest.HeadTask(t, name)
			c := m.Config().Classes
			if c == nil || c.Task != task || len(source.Warnings) > 0 {
				t.Fatalf("the base's head is %+v, warnings %q", c, source.Warnings)
			}
			texts, want := modeltest.Texts(t, modeltest.Goldens(t, name, "golden.safetensors")), modeltest.Scores(t, name)
			classes := slices.Repeat([]int{len(c.Names)}, len(texts))
			together := modeltest.Classify(t, m, models.NewPass(modeltest.Pool(t, 2)), task, classes, texts...)
			alone := models.NewPass(modeltest.Pool(t, 1))
			for i := range texts {
				got := modeltest.Classify(t, m, alone, task, classes, texts[i])[0]
				if d := modeltest.MaxDifference(got, want[i]); !(d <= tolerance) {
					t.Errorf("text %d: a score is off by %.3g", i, d)
				}
				equal(t, "scores", together[i], got)
			}
			if m.Config().Architecture.Does(models.Generate) {
				t.Error("a base with a head of a task in the place of the logits' generates text")
			}
			if _, err := source.Shape(); err != nil {
				t.Errorf("as a shape: %v", err)
			}
		})
	}
}

// TestClassesOfABase: names and problem_type come from the configuration, and what it
// says wrongly is refused by name.
func TestClassesOfABase(t *testing.T) {
	for _, c := range []struct {
		name, changes string
		want          *models.Classes
		fault         string
	}{
		{"heads/roberta/own-text", `{}`, &models.Classes{Task: models.Classify, Names: []string{"entailment", "neutral", "contradiction"}}, ""},
		{"heads/roberta/own-text", `{"id2label":{"2":"c","0":0,"1":"b"},"num_labels":9}`, &models.Classes{Task: models.Classify, Names: []string{"0", "b", "c"}}, ""},
		{"heads/roberta/own-text", `{"id2label":null,"_num_labels":3}`, &models.Classes{Task: models.Classify, Names: []string{"LABEL_0", "LABEL_1", "LABEL_2"}}, ""},
		{"heads/distilbert/own-text", `{}`, &models.Classes{Task: models.Classify, Names: []string{"LABEL_0"}, Problem: models.Regression}, ""},
		{"heads/electra/own-text", `{}`, &models.Classes{Task: models.Classify, Names: []string{"LABEL_0", "LABEL_1"}}, ""},
		{"heads/roberta/own-text", `{"id2label":{"0":"a","1":"b"}}`, nil, `"classifier.out_proj.weight" is [3, 9], not [2, 9]`},
		{"heads/roberta/own-text", `{"id2label":{"0":"a","1":"b","3":"c"}}`, nil, "the numbers from 0 to 2"},
		{"heads/roberta/own-text", `{"id2label":{"0":"a","1":"b","2":[]}}`, nil, "id2label: 2 is no string"},
		{"heads/roberta/own-text", `{"id2label":null,"num_labels":0}`, nil, "num_labels is 0"},
		{"heads/roberta/own-text", `{"problem_type":"ranking"}`, nil, `problem_type is "ranking"`},
		{"heads/roberta/own-text", `{"architectures":["RobertaForTokenClassification"]}`, nil, `"classifier.weight"`},
		{"heads/gpt2/own-text", `{"architectures":["GPT2LMHeadModel"]}`, nil, "score.weight"},
	} {
		dir := modeltest.OwnHead(t, c.name)
		path := filepath.Join(dir, "config.json")
		values := map[string]any{}
		b, err := os.ReadFile(path)
		if err == nil {
			err = errors.Join(json.Unmarshal(b, &values), json.Unmarshal([]byte(c.changes), &values))
		}
		if err == nil {
			b, err = json.Marshal(values)
		}
		if err == nil {
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		m, source, err := models.Open(dir, models.Options{})
		if c.want == nil {
			if !errors.Is(err, models.ErrSource) || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %s", c.changes, err, c.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.changes, err)
			continue
		}
		if got := m.Config().Classes; got.Task != c.want.Task || got.Problem != c.want.Problem || !slices.Equal(got.Names, c.want.Names) {
			t.Errorf("%s: %+v, want %+v", c.changes, got, c.want)
		}
		source.Close()
	}
}

// TestNoHead: which base can have which head is said.
func TestNoHead(t *testing.T) {
	for _, c := range []struct {
		base string
		task models.Task
		want string
	}{
		{"encoders/bert-masked", models.Classify, "stands on a pooler"},
		{"gemma3", models.Tag, "Gemma3ForCausalLM is not a model that classifies tokens"},
	} {
		if _, err := modeltest.Open(t, c.base).Config().Head(c.task); !errors.Is(err, models.ErrTask) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.base, err)
		}
	}
}
