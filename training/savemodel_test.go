package training

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestSavedConfiguration: config.json is the base's, its numbers as they were
// written (transformers wants a factor of 4.0, not 4), and names a model type
// also where the base was a GGUF.
func TestSavedConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		path func(t testing.TB) string
		want string
	}{
		"folder":           {func(t testing.TB) string { return modeltest.Goldens(t, "llama-gqa") }, `"factor": 4.0,`},
		"gguf":             {modeltest.SmolLM2, `"model_type": "llama"`},
		"a GGUF's factors": {func(t testing.TB) string { return modeltest.Goldens(t, "converted", "llama-llama3", "model.gguf") }, `"rope_type": "llama3"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.path(t)
			m, s, err := models.Open(path, models.Options{Context: 32})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			dir := t.TempDir()
			if err := SaveModel(dir, &Opened{Path: path, Model: m, Source: s}, Full(m), "bf16"); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, "config.json"))
			if err != nil || !strings.Contains(string(b), c.want) || !strings.Contains(string(b), `dtype": "bfloat16"`) {
				t.Errorf("%v: no %s in\n%s", err, c.want, b)
			}
		})
	}
}

// TestPrecisionOfModels: all of a model is saved in --dtype, what is reported
// of it is what the file computes, to the bit, and rounding it to be measured
// changes nothing of the training.
func TestPrecisionOfModels(t *testing.T) {
	for _, base := range modeltest.TrainingBases(t) {
		for _, method := range []string{"full", "lisa"} {
			for dtype, p := range precisions {
				c := tinyConfig(t, method)
				c.DType, c.Split = dtype, 0.3
				if _, err := train(t, c, base, &quiet{}); err != nil {
					t.Fatal(err)
				}
				once := saved(t, c.Output)
				c.Output, c.EvalEvery, c.Best = filepath.Join(t.TempDir(), "out"), 1, method == "lisa"
				r, err := NewRun(c, openTiny(t, base), &quiet{})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				s, err := r.Do(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if !c.Best && !bytes.Equal(saved(t, c.Output), once) {
					t.Errorf("%s, %s, %s: validating has changed the result", base, method, dtype)
				}
				f, err := safetensors.Open(filepath.Join(c.Output, modelFile))
				if err != nil {
					t.Fatal(err)
				}
				for stored := range f.All() {
					if stored.DType != p.dtype {
						t.Errorf("%s, %s: %s is %s", base, dtype, stored.Name, stored.DType)
					}
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				m, source, err := models.Open(c.Output, models.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer source.Close()
				e := &evaluator{model: m, encoder: r.encoder, pass: models.NewPass(r.pool)}
				got, err := e.evaluate(t.Context(), r.held, nil)
				if err != nil || got["loss"] != s.Validation["loss"] {
					t.Errorf("%s, %s, %s: the file's loss is %v (%v), %v was reported", base, method, dtype, got["loss"], err, s.Validation["loss"])
				}
			}
		}
	}
}

// TestDefaultPrecision is by what most of the base's weights have.
func TestDefaultPrecision(t *testing.T) {
	for stored, want := range map[string]string{"F32": "f32", "F16": "bf16", "BF16": "bf16", "Q8_0": "f32", "Q4_1": "f32"} {
		if got := precisionFor(stored); got != want {
			t.Errorf("%s: %s, want %s", stored, got, want)
		}
	}
	c := tinyConfig(t, "full")
	c.DType = "f64"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), `--dtype: "f64" is not one of bf16, f16, f32`) {
		t.Error(err)
	}
}

// TestBeyondPrecision: a weight that f16 does not hold is named, and the weights
// are what they were.
func TestBeyondPrecision(t *testing.T) {
	f := Full(openTiny(t, "llama-gqa").Model)
	f.Begin(0)
	last := f.base.tensors()[len(f.base.tensors())-1]
	last.Value[3] = 65520
	var before [][]float32
	for _, p := range f.base.all() {
		before = append(before, slices.Clone(p.Value))
	}
	err := f.base.asSaved(precisions["f16"], func() error { t.Error("called"); return nil })
	if err == nil || !strings.Contains(err.Error(), last.Name+": a weight of 65520 is beyond F16, which --dtype asks for") {
		t.Error(err)
	}
	if err := f.base.asSaved(precisions["bf16"], func() error { return nil }); err != nil {
		t.Error(err)
	}
	for i, p := range f.base.all() {
		if !slices.Equal(p.Value, before[i]) {
			t.Errorf("%s has changed", p.Name)
		}
	}
}
