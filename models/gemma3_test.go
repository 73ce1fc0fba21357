package models

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestGemma3Configs: what a configuration says is read as transformers reads it,
// or refused by name.
func TestGemma3Configs(t *testing.T) {
	sliding := []string{"sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention"}
	mixed := []string{"sliding_attention", "full_attention", "sliding_attention", "full_attention"}
	for _, c := range []struct {
		changes, want string // what is refused; empty: taken
		layers        []string
		full, local   float64 // base frequencies
	}{
		{`{}`, "", mixed, 1000, 50},
		{`{"cache_implementation": "hybrid", "final_logit_softcapping": null, "attn_logit_softcapping": null}`, "", mixed, 1000, 50},
		{`{"layer_types": null, "sliding_window_pattern": 2}`, "", mixed, 1000, 50},
		{`{"layer_types": null, "sliding_window_pattern": null, "_sliding_window_pattern": 6}`, "", sliding, 1000, 50},
		{`{"layer_types": null, "sliding_window_pattern": null}`, "_sliding_window_pattern is 2, and without layer_types transformers takes 6", nil, 0, 0},
		{`{"layer_types": null, "sliding_window_pattern": 0}`, "sliding_window_pattern is 0", nil, 0, 0},
		{`{"layer_types": ["full_attention"]}`, "layer_types has 1 entries for 4 layers", nil, 0, 0},
		{`{"layer_types": ["full_attention", "full_attention", "full_attention", "chunked_attention"]}`, `"chunked_attention" is not implemented`, nil, 0, 0},
		{`{"rope_theta": 7, "rope_local_base_freq": 5, "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 7}}}`, "", mixed, 7, 5},
		{`{"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 7}}}`, "rope_theta is 1000, and 7 in rope_parameters.full_attention", nil, 0, 0},
		{`{"rope_parameters": {"rope_type": "default"}}`, "rope_parameters has full_attention and sliding_attention", nil, 0, 0},
		{`{"rope_parameters": {"sliding_attention": {"rope_type": "linear"}}}`, "rope_parameters.sliding_attention: factor is 0", nil, 0, 0},
		{`{"rope_parameters": {}, "rope_scaling": {"rope_type": "default"}}`, "rope_scaling and rope_parameters", nil, 0, 0},
		{`{"rope_scaling": {"rope_type": "longrope", "factor": 8}}`, `rope_type "longrope"`, nil, 0, 0},
		{`{"rope_scaling": {"rope_type": "linear", "factor": 8, "sorcery": 1}}`, "rope_scaling.sorcery is not known", nil, 0, 0},
		{`{"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5}}`, "partial_rotary_factor is 0.5", nil, 0, 0},
		{`{"rope_local_base_freq": 0}`, "rope_local_base_freq is 0", nil, 0, 0},
		{`{"query_pre_attn_scalar": 0}`, "query_pre_attn_scalar is 0", nil, 0, 0},
		{`{"sliding_window": 0}`, "sliding_window is 0", nil, 0, 0},
		{`{"sliding_window": null}`, "sliding_window is null", nil, 0, 0},
		{`{"head_dim": 11}`, "head_dim is 11", nil, 0, 0},
		{`{"rms_norm_eps": -1}`, "rms_norm_eps is -1", nil, 0, 0},
		{`{"num_attention_heads": 3}`, "num_attention_heads 3 is no multiple", nil, 0, 0},
		{`{"hidden_activation": "relu2"}`, `hidden_activation "relu2"`, nil, 0, 0},
		{`{"use_bidirectional_attention": true}`, "use_bidirectional_attention is true", nil, 0, 0},
		{`{"final_logit_softcapping": 30.0}`, "final_logit_softcapping is 30.0", nil, 0, 0},
		{`{"final_logit_softcapping": 0}`, "final_logit_softcapping is 0", nil, 0, 0}, // transformers makes zeros of the logits
		{`{"sorcery": 1}`, "sorcery is not known", nil, 0, 0},
		{`{"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}`, "Gemma3ForConditionalGeneration", nil, 0, 0},
	} {
		s := &Source{Name: "base"}
		err := s.configure(changed(t, "gemma3", c.changes), Options{})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", c.changes, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.changes, err)
			continue
		}
		got, err := readGemma3(s)
		if err != nil || !slices.Equal(got.LayerTypes, c.layers) || got.RopeTheta != c.full || got.RopeLocalBaseFreq != c.local {
			t.Errorf("%s: %+v (%v)", c.changes, got, err)
		}
	}
}

// TestGemma3Metadata: so are the keys of a GGUF file, and what is not there is
// what llama.cpp knows without it.
func TestGemma3Metadata(t *testing.T) {
	type metadata = map[string]any
	for _, c := range []struct {
		metadata metadata
		want     string // what is refused; empty: taken
		full     []int  // the layers that see everything
		local    float64
		scalar   float64
	}{
		{nil, "", []int{5}, 10000, 8},
		{metadata{"gemma3.rope.freq_base_swa": float32(50)}, "", []int{5}, 50, 8},
		{metadata{"gemma3.attention.sliding_window_pattern": uint32(3)}, "", []int{2, 5}, 10000, 8},
		{metadata{"gemma3.attention.sliding_window": nil}, "", []int{0, 1, 2, 3, 4, 5, 6}, 10000, 8},
		{metadata{"gemma3.final_logit_softcapping": float32(30)}, "gemma3.final_logit_softcapping is 30", nil, 0, 0},
		{metadata{"gemma3.sorcery": uint32(1)}, "gemma3.sorcery is not known", nil, 0, 0},
		{metadata{"gemma3.block_count": uint32(1 << 30)}, "num_hidden_layers is 1073741824", nil, 0, 0},
	} {
		s, err := OpenSource(fileWith(t, "gemma3", c.metadata, nil), Options{})
		if err == nil {
			defer s.Close()
		}
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v, want %s", c.metadata, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.metadata, err)
			continue
		}
		got, err := readGemma3(s)
		if err != nil {
			t.Errorf("%v: %v", c.metadata, err)
			continue
		}
		var full []int
		for i, kind := range got.LayerTypes {
			if kind == fullAttention {
				full = append(full, i)
			}
		}
		if !slices.Equal(full, c.full) || got.RopeLocalBaseFreq != c.local || got.QueryPreAttnScalar != c.scalar {
			t.Errorf("%v: %+v", c.metadata, got)
		}
	}
}

// TestGemma3Window: --sliding-window holds for the layers that have one; 0 is as
// long as the context.
func TestGemma3Window(t *testing.T) {
	for n, want := range map[int]int{7: 7, 0: 128} {
		for _, path := range []string{"gemma3", "converted/gemma3/model.gguf"} {
			s, err := OpenSource(filepath.Join(goldens, path), Options{SlidingWindow: new(n)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if c, err := readGemma3(s); err != nil || c.SlidingWindow != want || c.LayerTypes[0] != slidingAttention {
				t.Errorf("%s with %d: %+v (%v)", path, n, c, err)
			}
		}
	}
}
