package models_test

import (
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

func TestSmolLM2Continues(t *testing.T) {
	m, s, err := models.Open(modeltest.SmolLM2(t), models.Options{Context: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Logf("%+v", *m.Config())
	// "The capital of France is" → " Paris"
	pool := modeltest.Pool(t, 0)
	logits := modeltest.Logits(t, m, pool, []int32{504, 3575, 282, 4649, 314}, nil)
	if got := largest(logits.Row(4)); got != 7042 {
		t.Fatalf("next token %d, want 7042", got)
	}
}
