package models

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/gguf"
)

// TestDecimal: transformers takes a factor of 8 for an integer, and says so.
func TestDecimal(t *testing.T) {
	for v, want := range map[decimal]string{8: "8.0", 0.5: "0.5", 1e-6: "1e-06", 5e5: "500000.0", 1e21: "1e+21"} {
		b, err := json.Marshal(v)
		if err != nil || string(b) != want {
			t.Errorf("%v is written %s (%v), want %s", float64(v), b, err, want)
		}
	}
}

// TestBadGGUF: a file that no converter writes is refused, not divided by.
func TestBadGGUF(t *testing.T) {
	for want, c := range map[string]struct {
		theta float32
		rows  int
		key   string // that is there too
		value any
	}{
		"rope_theta is 0": {0, 4, "llama.attention.layer_norm_rms_epsilon", float32(1e-6)},
		"llama.attention.layer_norm_rms_epsilon is missing": {10000, 4, "general.name", "bad"},
		"rms_norm_eps is -1": {10000, 4, "llama.attention.layer_norm_rms_epsilon", float32(-1)},
		`"model.layers.0.self_attn.q_proj.weight" is [0, 0]`:        {10000, 0, "llama.attention.layer_norm_rms_epsilon", float32(1e-6)},
		`"model.layers.0.self_attn.q_proj.weight" is [2, 4]`:        {10000, 2, "llama.attention.layer_norm_rms_epsilon", float32(1e-6)},
		`tokenizer.ggml.eos_token_id is "0", not a whole number`:    {10000, 4, "tokenizer.ggml.eos_token_id", "0"},
		`tokenizer.ggml.eot_token_id is "true", not a whole number`: {10000, 4, "tokenizer.ggml.eot_token_id", true},
		`tokenizer.ggml.add_bos_token is "1", not true or false`:    {10000, 4, "tokenizer.ggml.add_bos_token", 1},
		`tokenizer.chat_template is "[a]", not a text`:              {10000, 4, "tokenizer.chat_template", []string{"a"}},
	} {
		w := gguf.NewWriter("llama")
		for key, v := range map[string]any{
			"llama.embedding_length": 4, "llama.feed_forward_length": 4, "llama.block_count": 1, "llama.attention.head_count": 2,
			"llama.context_length": 8, "llama.rope.freq_base": c.theta, "tokenizer.ggml.tokens": []string{"a"}, c.key: c.value,
		} {
			w.Set(key, v)
		}
		add := func(name string, dims ...int) {
			n := 4
			for _, d := range dims {
				n *= d
			}
			w.Add(name, gguf.TypeF32, dims, make([]byte, n))
		}
		add("token_embd.weight", 4, 1)
		add("output_norm.weight", 4)
		for _, name := range []string{"attn_norm", "ffn_norm"} {
			add("blk.0."+name+".weight", 4)
		}
		add("blk.0.attn_q.weight", 4, c.rows)
		for _, name := range []string{"attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"} {
			add("blk.0."+name+".weight", 4, 4)
		}
		path := filepath.Join(t.TempDir(), "bad.gguf")
		if err := w.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
