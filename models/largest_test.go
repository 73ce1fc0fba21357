package models

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestLargest finds a value in a folder and in a GGUF file.
func TestLargest(t *testing.T) {
	for value, name := range map[float32]string{
		-1e30:                "model.layers.1.mlp.up_proj.weight",
		float32(math.Inf(1)): "model.norm.weight",
		float32(math.NaN()):  "model.embed_tokens.weight",
	} {
		_, s, err := Open(folderWith(t, "llama-gqa", `{}`, map[string]*safetensors.Tensor{name: holding(t, name, value)}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		tensor, found := s.Largest()
		if same := found == value || found != found && value != value; tensor != name || !same {
			t.Errorf("%g in %s, want %g in %s", found, tensor, value, name)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, s, err := Open(filepath.Join(goldens, "converted", "llama", "model.gguf"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	tensor, value := s.Largest()
	if stored, err := s.GGUF.Weight(tensor); err != nil || value == 0 || stored.Rows == 0 {
		t.Errorf("%g in %q, %v", value, tensor, err)
	}
}

// holding is a tensor of a golden base that holds a value.
func holding(t *testing.T, name string, value float32) *safetensors.Tensor {
	t.Helper()
	f, err := safetensors.OpenFolder(filepath.Join(goldens, "llama-gqa"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	tensor, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	values, err := tensor.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	values = slices.Clone(values)
	values[len(values)/2] = value
	changed := safetensors.FromFloat32s(name, slices.Clone(tensor.Shape), values)
	return &changed
}
