package models

import (
	"strings"
	"testing"
)

// TestDeBERTaConfigs refuses what the forward pass does not honour.
func TestDeBERTaConfigs(t *testing.T) {
	for _, c := range []struct{ changes, want string }{
		{`{"relative_attention": false}`, "relative_attention is false, which is not implemented"},
		{`{"pos_att_type": null}`, "pos_att_type is empty"},
		{`{"pos_att_type": "p2c|p2p"}`, `pos_att_type: "p2p" is not implemented`},
		{`{"pos_att_type": 3}`, "pos_att_type is neither a text nor a list"},
		{`{"norm_rel_ebd": "batch_norm"}`, `norm_rel_ebd "batch_norm" is not implemented`},
		{`{"position_buckets": 300}`, "position_buckets 300 are too many or too few"},
		{`{"position_buckets": 2}`, "position_buckets 2 are too many or too few"},
		{`{"conv_kernel_size": 4}`, "conv_kernel_size is 4, which is not implemented (only odd ones up to 63)"},
		{`{"conv_kernel_size": 65}`, "conv_kernel_size is 65"},
		{`{"conv_kernel_size": 3, "conv_groups": 3}`, "conv_groups is 3, which is not implemented"},
		{`{"conv_kernel_size": 3, "conv_act": "sine"}`, `conv_act "sine" is not implemented`},
		{`{"embedding_size": 6}`, "embedding_size is 6"},
		{`{"attention_head_size": 6}`, "attention_head_size is 6"},
		{`{"type_vocab_size": -1}`, "type_vocab_size is -1"},
		{`{"pooler_hidden_act": "tanh"}`, "pooler_hidden_act"},
	} {
		if err := CheckConfig("base", changed(t, "encoders/deberta", c.changes), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.changes, c.want, err)
		}
	}
}
