package models

import "strings"

// ggufOfBERT is BERT in GGUF files, of which llama.cpp's converter leaves out the pooler.
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
		c := map[string]any{"hidden_act": "gelu"} // which no key says; llama.cpp computes it by its tanh approximation
		k.int(c, "hidden_size", "embedding_length")
		k.int(c, "intermediate_size", "feed_forward_length")
		k.int(c, "num_hidden_layers", "block_count")
		k.int(c, "num_attention_heads", "attention.head_count")
		k.int(c, "max_position_embeddings", "context_length")
		if k.float(c, "layer_norm_eps", "attention.layer_norm_epsilon"); c["layer_norm_eps"] == nil {
			k.s.fault("metadata: %sattention.layer_norm_epsilon is missing", k.prefix)
		}
		if heads, ok := k.number("attention.head_count_kv"); ok && int(heads) != c["num_attention_heads"] {
			k.s.fault("metadata: %sattention.head_count_kv is %g, and there are %v heads, which is not implemented", k.prefix, heads, c["num_attention_heads"])
		}
		if v, ok := k.value("attention.causal"); ok && v != false {
			k.s.fault("metadata: %sattention.causal is %v: every token of a text sees all of it", k.prefix, v)
		}
		if w, err := k.s.GGUF.Weight("token_types.weight"); err == nil {
			c["type_vocab_size"] = w.Rows
			if w.Cols == 1 || w.Rows*w.Cols == c["hidden_size"] { // a vector is one row
				c["type_vocab_size"] = 1
			}
		}
		for _, t := range k.s.GGUF.Tensors() {
			if strings.HasPrefix(t.Name, "cls.") || t.Name == "cls" {
				k.s.fault("tensor %q is of a head, which is not read from a GGUF file: take the model's folder", t.Name)
			}
		}
		return c
	},
}
