package training

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// TestEmbeddingsOfGGUF holds the embeddings of a base that llama.cpp's own converter has
// written against those of its folder, to the bit in float32, and against
// sentence-transformers'.
func TestEmbeddingsOfGGUF(t *testing.T) {
	var golden []struct {
		Text   string
		Tokens []int32
		Want   []float64
	}
	readJSON(t, modeltest.Goldens(t, "sentences", "mean", "golden.json"), &golden)
	folder := map[string][]float32{}
	for _, c := range []struct {
		file string
		near float64
	}{{"", 1e-6}, {"f32.gguf", 1e-6}, {"f16.gguf", 1e-3}, {"q8_0.gguf", 3e-2}} {
		base, err := Open(modeltest.Goldens(t, "sentences", "mean", c.file), BaseConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		recipe, err := base.recipe()
		if err != nil {
			t.Fatal(err)
		}
		if !recipe.Normalize || len(recipe.Modes) != 1 || recipe.Modes[0] != pooling.Mean {
			t.Errorf("%q: the recipe is %+v", c.file, recipe)
		}
		e := &evaluator{model: base.Model, objective: Objective{Recipe: recipe}, pass: models.NewPass(modeltest.Pool(t, 1))}
		for _, g := range golden {
			made, err := recipe.Encode(t.Context(), base.Tokenizer, "", g.Text, pooling.Limits{Room: 20})
			if err != nil {
				t.Fatal(err)
			}
			if n := min(len(g.Tokens), 19); !slices.Equal(made.Tokens[:n], g.Tokens[:n]) {
				t.Errorf("%q: %q has the tokens %v, want %v", c.file, g.Text, made.Tokens, g.Tokens)
			}
			s := Sequence{Tokens: made.Tokens, Targets: slices.Repeat([]int32{0}, len(made.Tokens)), Whole: true}
			row := e.embeddings([]Sequence{s})[0]
			for i, want := range g.Want {
				if !(math.Abs(float64(row[i])-want) <= c.near) {
					t.Fatalf("%q: %q: value %d is %v, want %v", c.file, g.Text, i, row[i], want)
				}
			}
			if c.file == "" {
				folder[g.Text] = row
			} else if c.file == "f32.gguf" && !slices.Equal(row, folder[g.Text]) {
				t.Errorf("%q is %v, and in the folder %v", g.Text, row, folder[g.Text])
			}
		}
	}
}

// TestGGUFLearnsEmbeddings: an adapter is trained over a GGUF file; a model, which would
// end in a folder with a tokenizer that the file does not hold, is refused first.
func TestGGUFLearnsEmbeddings(t *testing.T) {
	for _, c := range []struct{ file, method, want string }{
		{"sentences/mean/q8_0.gguf", "lora", ""},
		{"sentences/mean/q8_0.gguf", "full", "--method full ends in a folder with the base's tokenizer"},
		{"encoders-gguf/modern-bert/model.gguf", "lora", ""},
		{"encoders-gguf/nomic-bert/model.gguf", "lora", ""},
	} {
		base, err := Open(modeltest.Goldens(t, c.file), BaseConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		config := comparedConfig(t, c.method)
		if c.method == "lora" {
			config.Targets = []string{"all-linear"}
		}
		s, err := trainHead(t, config, base, &quiet{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %s: %v", c.file, c.method, err)
		}
		if err == nil && s.Plan.Activations != s.Peak.Activations {
			t.Errorf("%s: planned %+v, measured %+v", c.file, s.Plan, s.Peak)
		}
	}
}
