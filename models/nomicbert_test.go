package models

import (
	"strings"
	"testing"
)

// TestNomicBERTConfigs refuses what the forward pass does not honour.
func TestNomicBERTConfigs(t *testing.T) {
	for _, c := range []struct{ changes, want string }{
		{`{"num_attention_heads": 3}`, "no multiple of num_attention_heads 3"},
		{`{"num_attention_heads": 8, "head_dim": null}`, "head_dim 1"},
		{`{"head_dim": 8}`, "head_dim is 8, and hidden_size by num_attention_heads 4"},
		{`{"hidden_act": "sorcery"}`, `hidden_act "sorcery" is not implemented`},
		{`{"layer_norm_eps": -1}`, "layer_norm_eps is -1"},
		{`{"type_vocab_size": 0}`, "type_vocab_size is 0"},
		{`{"rope_theta": 7}`, "rope_theta is 7, and 50 in rope_parameters"},
		{`{"rope_parameters": {"rope_type": "dynamic", "factor": 2}}`, `rope_parameters of type "dynamic" is not implemented`},
		{`{"rope_parameters": {"rope_theta": 50, "partial_rotary_factor": 0.5}}`, "partial_rotary_factor is 0.5"},
		{`{"rope_parameters": {"rope_theta": 0}}`, "rope_theta is 0"},
		{`{"n_embd": 8}`, "n_embd is not known"}, // as the model's own code has it
	} {
		if err := CheckConfig("base", changed(t, "encoders-gguf/nomic-bert", c.changes), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.changes, c.want, err)
		}
	}
}
