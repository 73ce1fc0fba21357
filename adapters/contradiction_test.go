package adapters_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestContradictions holds what is said of a folder whose configuration fits
// neither its own tensors nor the base.
func TestContradictions(t *testing.T) {
	const q = "base_model.model.model.layers.0.self_attn.q_proj"
	for name, c := range map[string]struct {
		base, adapter string
		change        map[string]any
		kind          error
		want, wantNot string
	}{
		"rank": {"llama-gqa", "lora", map[string]any{"r": 16}, adapters.ErrTensor,
			"adapter_config.json says r=16, " + q + ".lora_A.weight has rank 4", "does not fit"},
		"rank pattern": {"llama-gqa", "lora", map[string]any{"rank_pattern": map[string]int{"q_proj": 2}}, adapters.ErrTensor,
			`adapter_config.json says rank_pattern["q_proj"]=2, ` + q + ".lora_A.weight has rank 4", "does not fit"},
		"rank of an embedding": {"llama-gqa", "lora-embed-only-deltas", map[string]any{"r": 2}, adapters.ErrTensor,
			"says r=2, base_model.model.model.embed_tokens.lora_embedding_A has rank 4", "does not fit"},
		"virtual tokens": {"llama-gqa", "prompt", map[string]any{"num_virtual_tokens": 3}, adapters.ErrTensor,
			"adapter_config.json says num_virtual_tokens=3, prompt_embeddings has ", "does not fit"},
		"another base": {"llama", "lora", nil, adapters.ErrBase, "v_proj.lora_B.weight has shape [32 4], and the base at hand wants [16 4]", "says"},
		"a classifier": {"llama-gqa", "lora", map[string]any{"task_type": "SEQ_CLS"}, adapters.ErrBase, "task_type is SEQ_CLS", "tensor"},
		"an encoder":   {"llama-gqa", "lora", map[string]any{"task_type": "FEATURE_EXTRACTION"}, adapters.ErrBase, "task_type is FEATURE_EXTRACTION", "tensor"},
		"no task":      {"llama-gqa", "lora", map[string]any{"task_type": nil}, nil, "", ""},
		"alpha of nothing": {"llama-gqa", "lora", map[string]any{"alpha_pattern": map[string]int{"qproj": 2}}, adapters.ErrTarget,
			`alpha_pattern has "qproj", which matches no adapted module`, "tensor"},
		"rank of nothing": {"llama-gqa", "lora", map[string]any{"rank_pattern": map[string]int{"k_proj": 2}}, adapters.ErrTarget,
			`rank_pattern has "k_proj", which matches no adapted module`, "tensor"},
		"a layer too far":  {"llama-gqa", "lora", map[string]any{"layers_to_transform": []int{0, 3}}, adapters.ErrTarget, "names layer 3, the base has 3", "tensor"},
		"a module to save": {"llama-gqa", "lora", map[string]any{"modules_to_save": []string{"classifier", "score"}}, adapters.ErrTarget, `modules_to_save names "classifier"`, "tensor"},
	} {
		f := readFolder(t, c.base, "adapters", c.adapter)
		for key, v := range c.change {
			f.config[key] = v
		}
		m := modeltest.Open(t, "llama-gqa")
		_, err := f.load(t, m)
		switch {
		case c.kind == nil:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.wantNot):
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestDrawnProjections: a seed is not asked for more memory than a file would
// take.
func TestDrawnProjections(t *testing.T) {
	m, err := models.NewShape("config.json", []byte(`{"architectures":["LlamaForCausalLM"],"vocab_size":32000,"hidden_size":4096,"intermediate_size":11008,
		"num_hidden_layers":2,"num_attention_heads":32,"num_key_value_heads":32,"max_position_embeddings":2048,"tie_word_embeddings":false}`), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for r, want := range map[int]error{256: nil, 20000: adapters.ErrConfig} {
		c, err := adapters.NewConfig(map[string]any{"peft_type": "VERA", "r": r, "save_projection": false, "target_modules": []string{"q_proj"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := adapters.New(m, c); !errors.Is(err, want) {
			t.Errorf("r=%d: %v", r, err)
		}
	}
}
