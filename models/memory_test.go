package models_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestOpenBytes: a model in memory computes what its folder does, to the bit,
// wherever its bytes begin.
func TestOpenBytes(t *testing.T) {
	dir := modeltest.Goldens(t, "llama-gqa")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	config, weights := read("config.json"), read("model.safetensors")
	folder, source, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	want := logits(folder)
	for _, shift := range []int{0, 1, 3} {
		moved := append(make([]byte, shift), weights...)[shift:]
		m, s, err := models.OpenBytes("embedded", config, moved, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(logits(m), want) {
			t.Errorf("moved by %d bytes it computes something else", shift)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct{ config, weights []byte }{
		"cut":              {config, weights[:len(weights)/2]},
		"no safetensors":   {config, []byte("no")},
		"no configuration": {nil, weights},
	} {
		if _, _, err := models.OpenBytes("embedded", c.config, c.weights, models.Options{}); !errors.Is(err, models.ErrSource) || !strings.Contains(err.Error(), "embedded") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// logits of a few tokens.
func logits(m models.Model) []float32 {
	pool := kernels.NewPool(1)
	defer pool.Close()
	p := models.NewPass(pool)
	var b models.Batch
	b.AddFrom([]int32{1, 5, 9, 2}, 0, []int32{0}, nil, 0)
	return slices.Clone(m.Head(p, &b, 0, m.Forward(p, &b, nil)).Data.Data)
}
