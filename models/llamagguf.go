package models

import (
	"path/filepath"
	"regexp"
	"strings"
)

// The Llama family in GGUF files.

// ggufOfLlama is that of Llama, as which Mistral is written too.
var ggufOfLlama = &ggufForm{
	name: "llama", class: llamaClass, outside: ggufLlamaOutside, inside: ggufLlamaInside,
	interleaved: map[string]func(*Config) int{
		"self_attn.q_proj": func(c *Config) int { return c.Heads }, "self_attn.k_proj": func(c *Config) int { return c.KVHeads },
	},
	read: func(k *ggufKeys) map[string]any {
		c := k.llama()
		c["mlp_bias"] = k.anyTensor("ffn_gate.bias", "ffn_up.bias", "ffn_down.bias")
		override := k.options.SlidingWindow
		if window, _ := c["sliding_window"].(int); window > 0 || override != nil && *override > 0 {
			mistral := architectures[mistralClass]
			c["architectures"], c["model_type"] = []string{mistral.Class}, mistral.ModelType
		} else if override == nil {
			k.s.warnOfWindow(c)
		}
		return c
	},
}

// ggufOfQwen is that of Qwen2 and Qwen3.
func ggufOfQwen(name, class string) *ggufForm {
	return &ggufForm{name: name, class: class, outside: ggufLlamaOutside, inside: ggufLlamaInside, read: func(k *ggufKeys) map[string]any {
		c := k.llama()
		if c["sliding_window"] != nil {
			c["use_sliding_window"], c["max_window_layers"] = true, 0
		}
		if class == qwen2Class { // whose biases go without saying
			delete(c, "attention_bias")
		}
		return c
	}}
}

var (
	ggufLlamaOutside = map[string]string{"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
	ggufLlamaInside  = map[string]string{
		"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
		"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	}
)

// rotaryStrays are rotary frequencies, which the configuration and the metadata
// say.
var rotaryStrays = []*regexp.Regexp{
	regexp.MustCompile(`(^|\.)rotary_emb\.inv_freq$`), regexp.MustCompile(`^blk\.\d+\.attn_rot_embd(\.weight)?$`),
}

// llama reads the metadata of the family.
func (k *ggufKeys) llama() map[string]any {
	c := k.decoder()
	c["hidden_act"] = "silu"
	if n, ok := k.number("attention.sliding_window"); ok && n > 0 {
		c["sliding_window"] = int(n)
	}
	k.ropeFactors(c)
	c["attention_bias"] = k.anyTensor("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias")
	return c
}

// warnOfWindow tells of a file that may be a Mistral of the first version,
// which has a sliding window that llama.cpp's converter does not write: one that
// is called Mistral, or has the shape of Mistral 7B. Later ones have none, and
// another base frequency.
func (s *Source) warnOfWindow(config map[string]any) {
	names := filepath.Base(s.Name)
	for _, key := range []string{"general.name", "general.basename", "general.base_model.0.name"} {
		name, _ := s.GGUF.String(key)
		names += " " + name
	}
	theta, ok := config["rope_theta"].(decimal)
	if !ok {
		theta = 10000
	}
	called := strings.Contains(strings.ToLower(names), "mistral") && theta < 1e6
	shaped := config["hidden_size"] == 4096 && config["intermediate_size"] == 14336 && config["num_key_value_heads"] == 8 && theta == 10000
	if called || shaped {
		s.Warnings = append(s.Warnings, s.Name+
			": this seems to be a Mistral, and a GGUF does not say its sliding window: Mistral 7B v0.1 has one of 4096 tokens (--sliding-window 4096), from v0.2 on there is none (--sliding-window 0)")
	}
}
