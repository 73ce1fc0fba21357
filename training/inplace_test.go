package training

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestTrainedInPlace trains a base in the memory it is mapped to, and one that
// cannot be written to, in copies: the same bits, no copy, and a file that
// stays as it was.
func TestTrainedInPlace(t *testing.T) {
	for _, base := range modeltest.TrainingBases(t) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(modeltest.Goldens(t, "training", base))); err != nil {
			t.Fatal(err)
		}
		weights := filepath.Join(dir, "model.safetensors")
		before, err := os.ReadFile(weights)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for _, private := range []bool{false, true} {
			m, s, err := models.Open(dir, models.Options{Private: private})
			if err != nil {
				t.Fatal(err)
			}
			c := tinyConfig(t, "lisa")
			r, err := NewRun(c, &Opened{Path: dir, Model: m, Source: s, Tokenizer: letters(t)}, &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Do(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !private {
				want = saved(t, c.Output)
			} else {
				if !bytes.Equal(saved(t, c.Output), want) {
					t.Errorf("%s: trained in place, the model differs", base)
				}
				if n := r.Trainer.Method.(*Blocks).base.widened(); n != 0 {
					t.Errorf("%s: %d bytes are copies", base, n)
				}
			}
			r.Close()
			s.Close()
		}
		if after, err := os.ReadFile(weights); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s: the base's file has changed (%v)", base, err)
		}
	}
}
