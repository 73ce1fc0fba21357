package training

import (
	"context"
	"slices"
	"testing"
)

// TestEpochsEndWithPartialBatches: every sequence is there once an epoch, no
// step reaches into the next epoch, and a step of one sequence is as good as
// any. Seventeen sequences in steps of 2 × 2 are five steps, as transformers'
// Trainer has it.
func TestEpochsEndWithPartialBatches(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.MaxSteps, c.Epochs = 0, 2.5
	r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.steps != 13 {
		t.Errorf("2.5 epochs are %d steps, want 13", r.steps)
	}
	for epoch := range 3 {
		var got []int
		for step := range 5 {
			spans := r.spans(5*epoch + step)
			if step == 4 && !slices.Equal(spans, []span{{17*epoch + 16, 17*epoch + 17}}) || step < 4 && len(spans) != 2 {
				t.Errorf("epoch %d, step %d: %v", epoch, step, spans)
			}
			for _, s := range spans {
				for n := s.from; n < s.to; n++ {
					got = append(got, n-17*epoch)
				}
			}
		}
		for i, n := range got {
			if i != n || len(got) != 17 {
				t.Fatalf("epoch %d: %v", epoch, got)
			}
		}
	}
	q := &quiet{}
	r.observer = q
	if _, err := r.Do(context.Background()); err != nil {
		t.Fatal(err)
	}
	tokens := 0
	for _, s := range q.steps[:10] {
		tokens += s.Tokens
	}
	if want := 2 * r.train.Report().Tokens; tokens != want {
		t.Errorf("two epochs trained on %d tokens, want %d", tokens, want)
	}
	if q.steps[4].Epoch != 1 || q.steps[9].Epoch != 2 {
		t.Errorf("the epochs end at %v and %v", q.steps[4].Epoch, q.steps[9].Epoch)
	}
}
