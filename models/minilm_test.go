package models_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// TestMiniLM holds a real encoder, which `make encoder` fetches, against
// transformers, from texts and pairs of texts to hidden states.
func TestMiniLM(t *testing.T) {
	var golden struct {
		Folder string
		Texts  []struct {
			Text                []string
			Tokens, Types       []int32
			First, Last, Pooled []float64
		}
	}
	readJSON(t, modeltest.Goldens(t, "real", "encoders", "minilm.json"), &golden)
	dir := modeltest.Real(t, golden.Folder)
	m, s, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var texts []modeltest.Text
	for _, want := range golden.Texts {
		text := modeltest.Text{Tokens: want.Tokens, Types: want.Types}
		if len(want.Text) == 2 {
			text.Tokens, text.Types, err = tok.EncodePair(context.Background(), want.Text[0], want.Text[1], tokenizer.Options{Plain: true})
		} else {
			text.Tokens, err = tok.Encode(want.Text[0], true)
		}
		if err != nil || !slices.Equal(text.Tokens, want.Tokens) || !slices.Equal(text.Types, want.Types) {
			t.Fatalf("%.40q: tokens %v of types %v, want %v of %v (%v)", want.Text, text.Tokens, text.Types, want.Tokens, want.Types, err)
		}
		texts = append(texts, text)
	}
	for i, got := range modeltest.Encode(m, models.NewPass(modeltest.Pool(t, 0)), texts...) {
		for _, row := range []struct {
			name string
			got  []float32
			want []float64
		}{
			{"the first token", got.Hidden.Row(0), golden.Texts[i].First},
			{"the last token", got.Hidden.Row(got.Hidden.Rows - 1), golden.Texts[i].Last},
			{"the pooled row", got.Pooled.Row(0), golden.Texts[i].Pooled},
		} {
			worst := 0.0
			for j, want := range row.want {
				worst = max(worst, math.Abs(float64(row.got[j])-want))
			}
			if !(worst <= 1e-5) {
				t.Errorf("text %d: %s is off by %.3g", i, row.name, worst)
			}
		}
	}
}
