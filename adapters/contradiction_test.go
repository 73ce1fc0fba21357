package adapters_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
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
		"columns of MiSS": {"llama-gqa", "miss-mini", map[string]any{"mini_r": 2}, adapters.ErrTensor, "says mini_r=2, base_model.model.model.layers.0.self_attn.k_proj.miss_block has 8 columns", "does not fit"},
		"an invocation as long as the context": {"llama-gqa", "alora", map[string]any{"alora_invocation_tokens": make([]int, 128)}, adapters.ErrBase,
			"alora_invocation_tokens has 128 tokens, which fill the base's context", "tensor"},
		"another base":                {"llama", "lora", nil, adapters.ErrBase, "v_proj.lora_B.weight has shape [32 4], and the base at hand wants [16 4]", "says"},
		"a classifier without a head": {"llama-gqa", "lora", map[string]any{"task_type": "SEQ_CLS"}, nil, "", ""},
		"a head that is not there": {"llama-gqa", "lora", map[string]any{"task_type": "SEQ_CLS", "modules_to_save": []string{"classifier", "score"}}, adapters.ErrTensor,
			"missing: base_model.model.score.weight", "task_type"},
		"an encoder": {"llama-gqa", "lora", map[string]any{"task_type": "FEATURE_EXTRACTION"}, adapters.ErrBase, "task_type is FEATURE_EXTRACTION", "tensor"},
		"no task":    {"llama-gqa", "lora", map[string]any{"task_type": nil}, nil, "", ""},
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
