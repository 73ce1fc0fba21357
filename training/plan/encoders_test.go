package plan_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/plan"
)

// TestEmbeddingsArePlanned: of pairs of texts that are compared the account is that of the
// Trainer on the base without a head, pooled as the base's own files say, and has the work
// of computing them twice where a micro-batch takes several passes.
func TestEmbeddingsArePlanned(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	for path, pooled := range map[string]string{
		"encoders/bert": "mean", "encoders/bert-classifier": "mean", "encoders/modernbert": "mean", "llama": "lasttoken",
		"sentences/tiny": "weightedmean, max, a linear that stays as it is, normalised (modules.json)", "sentences/mean/f32.gguf": "mean, normalised",
	} {
		path = modeltest.Goldens(t, path)
		base, err := plan.Open(path, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		recipe, err := base.Embeddings()
		if err != nil || recipe.Describe() != pooled {
			t.Fatalf("%s: embeddings are %s, %v", path, recipe.Describe(), err)
		}
		for _, name := range []string{"lora", "full", "lisa"} {
			c := plan.Choice{Method: name, Choice: adapters.Choice{R: 4, Targets: []string{"all-linear"}}, Classes: 3, Embeddings: true}
			var last models.FLOPs
			for _, n := range []int{3, 30} { // pairs, in one pass and in several
				trained, err := base.Train(c)
				if err != nil {
					t.Fatal(err)
				}
				batch := plan.Batch{Sequences: n, Length: 20}
				want, flops, ok := trained.Measure(batch)
				if !ok || trained.Head() != "" {
					t.Fatalf("%s: nothing is measured: %+v", name, want)
				}
				if n == 30 && flops.Forward < 19.9*last.Forward || n == 30 && flops.Backward > 10.1*last.Backward {
					t.Errorf("%s: ten times as many take %+v, and the few %+v", name, flops, last)
				}
				last = flops
				m, s, err := models.Open(path, models.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				tr := training.NewTrainer(pool, m, method(t, m, c, nil))
				tr.Objective = training.Objective{Recipe: recipe}
				tr.Method.Begin(0)
				if _, err := tr.Gradients([][]training.Sequence{compared(batch, recipe)}); err != nil {
					t.Fatal(err)
				}
				now, peak := tr.Live()
				if peak != want || now.Total() != 0 {
					t.Errorf("%s of %s, %d pairs: planned %+v, measured %+v, and %d bytes are still in use", name, path, n, want, peak, now.Total())
				}
				parameters := 0
				for _, p := range tr.Method.Parameters() {
					parameters += p.Len()
				}
				if parameters != trained.Parameters() {
					t.Errorf("%s of %s: %d parameters are trained, planned %d", name, path, parameters, trained.Parameters())
				}
			}
		}
	}
}

// compared are the pairs of texts of a batch.
func compared(b plan.Batch, recipe *pooling.Recipe) (all []training.Sequence) {
	for range b.Sequences {
		for text := range 2 {
			s := training.Sequence{Text: text, Whole: true, Targets: slices.Repeat([]int32{-1}, b.Length)}
			for i := range b.Length {
				s.Tokens = append(s.Tokens, int32(3+i%12))
			}
			for _, i := range pooling.Rows(recipe.Modes, b.Length, 0) {
				s.Targets[i] = 0
			}
			all = append(all, s)
		}
	}
	return all
}

// TestPeakOfEncoders records passes through the heads of the golden encoders and holds
// the account against their peak.
func TestPeakOfEncoders(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	for _, base := range modeltest.Encoders(t) {
		path := modeltest.Goldens(t, base)
		if filepath.Base(path) == "bert-masked" { // whose head stands on a pooler that the file has not
			continue
		}
		shape, err := plan.Open(path, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		own := adapters.Choice{R: 4, Targets: []string{"all-linear"}, VirtualTokens: 5}
		methods := []string{"full", "lisa", "block-wise", "lora", "dora", "bitfit", "houlsby", "pfeiffer", "prompt", "prefix"}
		for _, name := range methods {
			if name == "prefix" && shape.Config().NoPrefix || name == "prompt" && filepath.Base(path) == "electra" { // which are refused
				continue
			}
			c := plan.Choice{Method: name, Choice: own, Classes: 3}
			if name == "bitfit" {
				c.Targets, c.ZeroBiases = nil, filepath.Base(path) == "modernbert" // which has none
			}
			for _, batch := range []plan.Batch{{Sequences: 1, Length: 20}, {Sequences: 9, Length: 40}} {
				t.Run(fmt.Sprintf("%s/%s/%v", base, name, batch), func(t *testing.T) {
					trained, err := shape.Train(c)
					if err != nil {
						t.Fatal(err)
					}
					want, flops, ok := trained.Measure(batch)
					if !ok || flops.Backward == 0 {
						t.Fatal("no account")
					}
					m, s, err := models.Open(path, models.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					task := models.Classify
					if m.Config().Classes != nil {
						task = m.Config().Classes.Task
					}
					classes := models.Classes{Task: task, Names: models.ClassNames(3)}
					if task == models.Classify {
						classes.Problem = models.SingleLabel
					}
					tr := training.NewTrainer(pool, nil, nil)
					if trained.Adapter {
						m, err = models.WithHead(m, task)
					} else {
						m, err = models.WithNewHead(m, classes, func(_ string, w []float32) { w[0] = 1 })
					}
					if err != nil {
						t.Fatal(err)
					}
					tr.Model, tr.Method = m, method(t, m, c, &classes)
					head, err := m.Config().Head(task)
					if err != nil {
						t.Fatal(err)
					}
					tr.Objective = training.Objective{Head: head, Problem: classes.Problem, Classes: 3}
					tr.Method.Begin(0)
					if _, err := tr.Gradients([][]training.Sequence{headed(batch, task)}); err != nil {
						t.Fatal(err)
					}
					now, peak := tr.Live()
					if peak.Total() != want.Total() || now.Total() != 0 {
						t.Errorf("planned %+v, measured %+v, and %d bytes are still in use", want, peak, now.Total())
					}
					parameters := 0
					for _, p := range tr.Method.Parameters() {
						parameters += p.Len()
					}
					if share := trained.Share(); share > 1 || name == "full" && share < 0.9 { // MPNet's and DeBERTa's biases by distance stay
						t.Errorf("%s trains a share of %g", name, share)
					}
					if parameters != trained.Parameters() {
						t.Errorf("%d parameters are trained, planned %d", parameters, trained.Parameters())
					}
				})
			}
		}
	}
}

// headed are texts for a head.
func headed(b plan.Batch, task models.Task) (all []training.Sequence) {
	for range b.Sequences {
		s := training.Sequence{Whole: true}
		for i := range b.Length {
			target := int32(1)
			if task == models.Classify && i > 0 {
				target = -1
			}
			s.Tokens, s.Targets = append(s.Tokens, int32(7+i%20)), append(s.Targets, target)
		}
		all = append(all, s)
	}
	return all
}

// TestPredictionIsTheBases: what stands before ModernBERT's scores is trained with the
// head over a bare base, and is there already where the base was trained to fill masks.
func TestPredictionIsTheBases(t *testing.T) {
	bare := modeltest.Goldens(t, "encoders", "modernbert")
	text, err := os.ReadFile(filepath.Join(bare, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	masked := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(masked, bytes.Replace(text, []byte("ModernBertModel"), []byte("ModernBertForMaskedLM"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	trained := map[string]int{}
	hidden := 0
	for _, path := range []string{bare, masked} {
		shape, err := plan.Open(path, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		of, err := shape.Train(plan.Choice{Method: "lora", Choice: adapters.Choice{R: 4, Targets: []string{"Wqkv"}}, Classes: 3})
		if err != nil {
			t.Fatal(err)
		}
		trained[path], hidden = of.Parameters(), shape.Config().Hidden
	}
	if brought := trained[bare] - trained[masked]; brought != hidden*hidden+hidden {
		t.Errorf("%d values are brought to a bare base, want a matrix and a norm of width %d", brought, hidden)
	}
}
