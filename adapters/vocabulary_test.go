package adapters_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

const resizedHead, resizedEmbedding = "base_model.model.lm_head", "base_model.model.model.embed_tokens"

// TestCopies demands that what PEFT writes twice is no part of the content, and
// is refused where it says something else.
func TestCopies(t *testing.T) {
	m := modeltest.Open(t, "llama")
	f := readFolder(t, "llama", "adapters", "resized-save")
	want := adaptertest.Open(t, f.write(t)).Digest()
	maps.DeleteFunc(f.tensors, func(name string, _ safetensors.Tensor) bool {
		return strings.Contains(name, ".original_module.") || strings.Contains(name, ".modules_to_save.")
	})
	if got := adaptertest.Open(t, f.write(t)).Digest(); got != want {
		t.Errorf("without copies the digest is another: %s", got)
	}
	f = readFolder(t, "llama", "adapters", "resized-save")
	f.tensors[resizedHead+".modules_to_save.weight"].Data[0] ^= 1
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), "lm_head.modules_to_save.weight") {
		t.Errorf("another copy: %v", err)
	}
	f = readFolder(t, "llama", "adapters", "resized-save")
	delete(f.tensors, resizedHead+".weight")
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), "lm_head.weight") {
		t.Errorf("a copy alone: %v", err)
	}
}

// TestVocabulary holds what an adapter's vocabulary is, and that one is refused
// whose embeddings are not both there, or not of one size.
func TestVocabulary(t *testing.T) {
	m := modeltest.Open(t, "llama")
	for name, want := range map[string]int{"lora": 96, "lora-save-head": 96, "resized-save": 103, "resized-fewer": 90, "resized-tokens": 103} {
		if got := adaptertest.Load(t, m, modeltest.Goldens(t, "llama", "adapters", name)).Vocabulary(); got != want {
			t.Errorf("%s: a vocabulary of %d, want %d", name, got, want)
		}
	}
	for name, change := range map[string]func(f folder){
		"the file lacks the resized base_model.model.lm_head.weight":            func(f folder) { delete(f.tensors, resizedHead+".weight") },
		"the file lacks the resized base_model.model.model.embed_tokens.weight": func(f folder) { delete(f.tensors, resizedEmbedding+".weight") },
		"lm_head.weight has shape [96 32]": func(f folder) {
			f.tensors[resizedHead+".weight"] = safetensors.FromFloat32s(resizedHead+".weight", []int{96, 32}, make([]float32, 96*32))
		},
		"embed_tokens.weight has shape [103 16]": func(f folder) {
			f.tensors[resizedEmbedding+".weight"] = safetensors.FromFloat32s(resizedEmbedding+".weight", []int{103, 16}, make([]float32, 103*16))
		},
	} {
		f := readFolder(t, "llama", "adapters", "resized-frozen")
		change(f)
		if _, err := f.load(t, m); !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	a := adaptertest.Load(t, m, modeltest.Goldens(t, "llama", "adapters", "resized-save"))
	if _, err := a.Merge(m); !errors.Is(err, adapters.ErrMerge) || !strings.Contains(err.Error(), "103 tokens") {
		t.Errorf("merged: %v", err)
	}
	f := readFolder(t, "llama", "adapters", "resized-tokens")
	f.config["trainable_token_indices"] = []int{96, 100, 103}
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrConfig) || !strings.Contains(err.Error(), "103 is outside the vocabulary of 103") {
		t.Errorf("a token beyond the resized vocabulary: %v", err)
	}
}
