package models

import "strings"

// Encoders in GGUF files, of which llama.cpp's converter leaves out poolers.

// ggufOfBERT is BERT.
var ggufOfBERT = &ggufForm{
	name: "bert", class: "BertModel",
	outside: map[string]string{
		"bert.embeddings.word_embeddings": "token_embd", "bert.embeddings.position_embeddings": "position_embd",
		"bert.embeddings.token_type_embeddings": "token_types", "bert.embeddings.LayerNorm": "token_embd_norm",
	},
	inside: map[string]string{
		"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
		"attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
		"intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
	},
	read: func(k *ggufKeys) map[string]any {
		c := k.encoder("layer_norm_eps", "attention.layer_norm_epsilon")
		c["hidden_act"] = "gelu" // which no key says; llama.cpp computes it by its tanh approximation
		k.tokenTypes(c)
		return c
	},
}

// ggufOfModernBERT is ModernBERT.
var ggufOfModernBERT = &ggufForm{
	name: "modern-bert", class: "ModernBertModel",
	outside: map[string]string{
		"model.embeddings.tok_embeddings": "token_embd", "model.embeddings.norm": "token_embd_norm", "model.final_norm": "output_norm",
	},
	inside: map[string]string{
		"attn_norm": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.Wo": "attn_output",
		"mlp_norm": "ffn_norm", "mlp.Wi": "ffn_up", "mlp.Wo": "ffn_down",
	},
	read: func(k *ggufKeys) map[string]any {
		// The converter takes norm_eps for that of an RMSNorm, and writes a layer_norm_eps,
		// which transformers does not read, beside it.
		c := k.encoder("norm_eps", "attention.layer_norm_rms_epsilon")
		c["hidden_activation"] = "gelu" // by the tanh approximation in llama.cpp
		if act, ok := k.text("hidden_activation"); ok {
			c["hidden_activation"] = act
		}
		k.int(c, "local_attention", "attention.sliding_window")
		k.int(c, "global_attn_every_n_layers", "attention.sliding_window_pattern")
		k.float(c, "global_rope_theta", "rope.freq_base")
		c["local_rope_theta"] = nil // as global_rope_theta
		k.float(c, "local_rope_theta", "rope.freq_base_swa")
		k.required(c, "local_attention", "attention.sliding_window", "global_rope_theta", "rope.freq_base")
		if scaling := k.ropeScaling(); scaling != nil {
			c["rope_scaling"] = scaling
		}
		c["attention_bias"] = k.anyTensor("attn_qkv.bias", "attn_output.bias")
		c["mlp_bias"] = k.anyTensor("ffn_up.bias", "ffn_down.bias")
		c["norm_bias"] = k.anyTensor("attn_norm.bias", "ffn_norm.bias")
		return c
	},
}

// ggufOfNomicBERT is NomicBERT.
var ggufOfNomicBERT = &ggufForm{
	name: "nomic-bert", class: "NomicBertModel",
	outside: map[string]string{
		"nomic_bert.embeddings.word_embeddings": "token_embd", "nomic_bert.embeddings.token_type_embeddings": "token_types",
		"nomic_bert.emb_ln": "token_embd_norm",
	},
	inside: map[string]string{
		"attn.Wqkv": "attn_qkv", "attn.out_proj": "attn_output", "norm1": "attn_output_norm",
		"mlp.fc11": "ffn_up", "mlp.fc12": "ffn_gate", "mlp.fc2": "ffn_down", "norm2": "layer_output_norm",
	},
	read: func(k *ggufKeys) map[string]any {
		c := k.encoder("layer_norm_eps", "attention.layer_norm_epsilon")
		c["hidden_act"] = "silu"
		k.tokenTypes(c)
		rope := k.ropeScaling()
		if rope == nil {
			rope = map[string]any{"rope_type": "default"}
		}
		k.float(rope, "rope_theta", "rope.freq_base")
		k.required(rope, "rope_theta", "rope.freq_base")
		c["rope_parameters"] = rope
		return c
	},
}

// encoder reads what encoders have in common, and the epsilon of their norms as the
// configuration and the metadata call it. A head of a task is not read.
func (k *ggufKeys) encoder(epsilon, from string) map[string]any {
	c := map[string]any{}
	k.int(c, "hidden_size", "embedding_length")
	k.int(c, "intermediate_size", "feed_forward_length")
	k.int(c, "num_hidden_layers", "block_count")
	k.int(c, "num_attention_heads", "attention.head_count")
	k.int(c, "max_position_embeddings", "context_length")
	k.float(c, epsilon, from)
	k.required(c, epsilon, from)
	if heads, ok := k.number("attention.head_count_kv"); ok && int(heads) != c["num_attention_heads"] {
		k.s.fault("metadata: %sattention.head_count_kv is %g, and there are %v heads, which is not implemented", k.prefix, heads, c["num_attention_heads"])
	}
	if v, ok := k.value("attention.causal"); ok && v != false {
		k.s.fault("metadata: %sattention.causal is %v: every token of a text sees all of it", k.prefix, v)
	}
	for _, t := range k.s.GGUF.Tensors() {
		if strings.HasPrefix(t.Name, "cls.") || t.Name == "cls" {
			k.s.fault("tensor %q is of a head, which is not read from a GGUF file: take the model's folder", t.Name)
		}
	}
	return c
}

// required reports pairs of a key of the configuration and that of the metadata which
// would have given it, where the file has none.
func (k *ggufKeys) required(c map[string]any, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if c[pairs[i]] == nil {
			k.s.fault("metadata: %s%s is missing", k.prefix, pairs[i+1])
		}
	}
}

// tokenTypes is how many there are, by their embedding.
func (k *ggufKeys) tokenTypes(c map[string]any) {
	w, err := k.s.GGUF.Weight("token_types.weight")
	if err != nil {
		return
	}
	c["type_vocab_size"] = w.Rows
	if w.Cols == 1 || w.Rows*w.Cols == c["hidden_size"] { // a vector is one row
		c["type_vocab_size"] = 1
	}
}
