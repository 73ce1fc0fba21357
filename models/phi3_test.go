package models

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPhi3Configs: what a configuration says and this model does not do is
// refused by name.
func TestPhi3Configs(t *testing.T) {
	for changes, want := range map[string]string{
		`{}`: "",
		`{"sliding_window": null, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "original_max_position_embeddings": 4096, "partial_rotary_factor": 1.0}`: "",
		`{"rope_scaling": {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}}`:                                                     `rope_type "longrope" is not implemented`,
		`{"rope_scaling": {"type": "linear", "factor": 2.0}}`:                                                                                     `rope_type "linear" is not implemented`,
		`{"partial_rotary_factor": 0.75}`: "partial_rotary_factor is 0.75",
		`{"attention_bias": true}`:        "attention_bias is true",
		`{"sliding_window": 0}`:           "sliding_window is 0",
		`{"num_attention_heads": 3}`:      "num_attention_heads 3 is no multiple",
		`{"hidden_act": "relu2"}`:         `hidden_act "relu2"`,
		`{"rms_norm_eps": -1}`:            "rms_norm_eps is -1",
		`{"sorcery": 1}`:                  "sorcery is not known",
	} {
		err := CheckConfig("base", changed(t, "phi3", changes), Options{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", changes, err, want)
		}
	}
}

// TestPhi3Window: --sliding-window holds for every layer.
func TestPhi3Window(t *testing.T) {
	for _, path := range []string{"phi3", "converted/phi3-window/model.gguf"} {
		for n, want := range map[int]int{7: 7, 0: 0} {
			s, err := OpenSource(filepath.Join(goldens, path), Options{SlidingWindow: new(n)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c, err := readPhi3(s)
			if err != nil || (c.SlidingWindow == nil) != (want == 0) || want > 0 && *c.SlidingWindow != want {
				t.Errorf("%s with %d: %+v (%v)", path, n, c, err)
			}
		}
	}
}
