package training

import "testing"

// TestGroups holds the groups against those that transformers' Trainer and
// peft's create_loraplus_optimizer give the same names.
func TestGroups(t *testing.T) {
	const layer = "base_model.model.model.layers.0."
	vector, matrix := []int{8}, []int{8, 4}
	for _, c := range []struct {
		p        Parameter
		hf, plus string
	}{
		{Parameter{Name: layer + "self_attn.q_proj.lora_A.weight", Shape: matrix}, "decay", "A"},
		{Parameter{Name: layer + "self_attn.q_proj.lora_B.weight", Shape: matrix, Up: true}, "decay", "B"},
		{Parameter{Name: layer + "self_attn.q_proj.lora_B.bias", Shape: vector}, "no_decay", "B_no_decay"},
		{Parameter{Name: layer + "self_attn.q_proj.lora_magnitude_vector", Shape: vector}, "decay", "B"},
		{Parameter{Name: layer + "self_attn.q_proj.base_layer.bias", Shape: vector}, "no_decay", "B_no_decay"},
		{Parameter{Name: layer + "self_attn.k_proj.ia3_l", Shape: []int{8, 1}}, "decay", "A"},
		{Parameter{Name: layer + "input_layernorm.weight", Shape: vector, Norm: true}, "no_decay", "B_no_decay"},
		{Parameter{Name: "base_model.model.model.norm.weight", Shape: vector, Norm: true}, "no_decay", "B_no_decay"},
		{Parameter{Name: "base_model.model.transformer.h.0.ln_1.weight", Shape: vector, Norm: true}, "no_decay", "B_no_decay"},
		{Parameter{Name: layer + "self_attn.q_norm.weight", Shape: vector}, "no_decay", "B_no_decay"},
		{Parameter{Name: "base_model.model.lm_head.weight", Shape: matrix}, "decay", "A"},
		{Parameter{Name: "base_model.model.score.bias", Shape: vector}, "no_decay", "B_no_decay"},
		{Parameter{Name: "base_model.model.model.embed_tokens.lora_embedding_A", Shape: matrix, Embedding: true}, "decay", "embedding"},
		{Parameter{Name: "base_model.model.model.embed_tokens.lora_embedding_B", Shape: matrix, Up: true, Embedding: true}, "decay", "embedding"},
		{Parameter{Name: "prompt_embeddings", Shape: matrix}, "decay", "A"},
	} {
		if got := HuggingFace(0.1).Of(&c.p).Name; got != c.hf {
			t.Errorf("%s is in %s, want %s", c.p.Name, got, c.hf)
		}
		if got := LoRAPlus(16, 1e-6, 0.1).Of(&c.p).Name; got != c.plus {
			t.Errorf("LoRA+: %s is in %s, want %s", c.p.Name, got, c.plus)
		}
	}
}

// TestIdleLoRAPlus: a method that does not read LoRA+'s ratio trains as without.
func TestIdleLoRAPlus(t *testing.T) {
	for method, want := range map[string]string{"full": "decay", "lora": "A"} {
		c := tinyConfig(t, method)
		c.PlusRatio = 16
		r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got := r.Trainer.Grouping.Groups[0].Name; got != want {
			t.Errorf("%s: the first group is %q, want %q", method, got, want)
		}
	}
}
