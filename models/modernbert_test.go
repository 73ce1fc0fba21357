package models

import (
	"strings"
	"testing"
)

// TestModernBERTConfigs refuses what the forward pass does not honour.
func TestModernBERTConfigs(t *testing.T) {
	for _, c := range []struct{ changes, want string }{
		{`{"num_attention_heads": 8}`, "makes heads of 1, which are not rotated"},
		{`{"num_attention_heads": 5}`, "no multiple of num_attention_heads 5"},
		{`{"local_attention": 0}`, "local_attention is 0"},
		{`{"norm_eps": -1}`, "norm_eps is -1"},
		{`{"hidden_activation": "sorcery"}`, `hidden_activation "sorcery" is not implemented`},
		{`{"local_rope_theta": 0}`, "local_rope_theta are 160000 and 0"},
		{`{"rope_scaling": {"rope_type": "yarn", "factor": 2}}`, `rope_scaling of type "yarn" is not implemented`},
		{`{"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2}}}`, `rope_parameters.full_attention of type "linear"`},
		{`{"rope_parameters": {"sliding_attention": {"rope_theta": 7}}}`, "local_rope_theta is 100, and 7 in rope_parameters.sliding_attention"},
		{`{"layer_types": ["full_attention"]}`, "layer_types has 1 entries for 3 layers"},
		{`{"layer_types": ["full_attention", "full_attention", "full_attention"]}`, "layer_types says full_attention of layer 1, and global_attn_every_n_layers is 2"},
		{`{"layer_types": ["full_attention", "chunked_attention", "full_attention"]}`, `"chunked_attention" is not implemented`},
		{`{"is_decoder": true}`, "is_decoder is true"},
	} {
		if err := CheckConfig("base", changed(t, "encoders/modernbert", c.changes), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.changes, c.want, err)
		}
	}
}
