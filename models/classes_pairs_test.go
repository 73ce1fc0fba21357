package models

import (
	"strings"
	"testing"
)

// TestActivationOfPairs reads what sentence-transformers notes of a cross-encoder.
func TestActivationOfPairs(t *testing.T) {
	for config, identity := range map[string]bool{
		`{}`: false,
		`{"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "5.0"}}`: false,
		`{"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}`:                      true,
		`{"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}`:                          true,
	} {
		if c, err := ReadClasses([]byte(config)); err != nil || c.Identity != identity {
			t.Errorf("%s: %+v, %v", config, c, err)
		}
	}
	if _, err := ReadClasses([]byte(`{"sentence_transformers": {"activation_fn": "mine.Sorcery"}}`)); err == nil || !strings.Contains(err.Error(), "mine.Sorcery") {
		t.Error(err)
	}
}
