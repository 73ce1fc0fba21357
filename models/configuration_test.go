package models

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestKnownConfigs: whatever transformers saves, and configurations as they are
// published, are understood to the last key.
func TestKnownConfigs(t *testing.T) {
	for _, path := range []string{
		"testdata/published.json", "../testdata/goldens/configs/transformers-4.json", "../testdata/goldens/configs/transformers-5.json",
	} {
		configs := map[string]json.RawMessage{}
		readJSON(t, path, &configs)
		if len(configs) == 0 {
			t.Fatalf("%s holds none", path)
		}
		for name, config := range configs {
			if err := CheckConfig(name, config, Options{}); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// changed is the configuration of a golden base with other keys.
func changed(t *testing.T, base, changes string) []byte {
	t.Helper()
	values := map[string]json.RawMessage{}
	readJSON(t, filepath.Join("../testdata/goldens", base, "config.json"), &values)
	other := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(changes), &other); err != nil {
		t.Fatal(err)
	}
	maps.Copy(values, other)
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestRefusedConfigs: a key that would change the results is refused by name.
func TestRefusedConfigs(t *testing.T) {
	for _, c := range []struct{ base, changes, want string }{
		{"llama", `{"sorcery": 3}`, "sorcery is not known to peft-serve and may change the results; if it does not, start with --ignore-config-key sorcery, and report it"},
		{"llama", `{"scale_emb": 12}`, "scale_emb is not known"},
		{"llama", `{"rms_norm_eps": null}`, "rms_norm_eps is null: give it a value, or leave it out"},
		{"llama", `{"rope_theta": null}`, "rope_theta is null"},
		{"llama", `{"hidden_act": null}`, "hidden_act is null"},
		{"gpt2", `{"scale_attn_weights": null}`, "scale_attn_weights is null"}, // transformers takes it for false
		{"gpt2", `{"tie_word_embeddings": null}`, "tie_word_embeddings is null"},
		{"llama", `{"partial_rotary_factor": 0.5}`, "partial_rotary_factor is 0.5"},
		{"llama", `{"rope_parameters": {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.25}}`, "partial_rotary_factor is 0.25"},
		{"llama", `{"quantization_config": {"quant_method": "gptq"}}`, `quantization_config is {"quant_method":"gptq"}`},
		{"llama", `{"is_encoder_decoder": true}`, "is_encoder_decoder is true"},
		{"llama", `{"logits_scaling": 8}`, "logits_scaling is 8"},
		{"llama", `{"attn_logit_softcapping": 50.0}`, "attn_logit_softcapping is 50.0"},
		{"llama", `{"rope_interleaved": true}`, "rope_interleaved is true"},
		{"llama", `{"num_local_experts": 8}`, "num_local_experts is 8"},
		{"llama", `{"pruned_heads": {"0": [1]}}`, "pruned_heads"},
		{"llama", `{"sliding_window": 12}`, "--sliding-window"},
		{"llama", `{"layer_types": ["sliding_attention", "full_attention"]}`, "layer_types"},
		{"llama", `{"layer_types": ["full_attention"]}`, "layer_types has 1 entries for 2 layers"},
		{"llama", `{"model_type": "mistral"}`, `LlamaForCausalLM and model_type "mistral"`},
		{"llama", `{"architectures": ["PhiForCausalLM"]}`, `"PhiForCausalLM"`},
		{"llama", `{"architectures": null, "model_type": null}`, "architectures and model_type are missing"},
		{"llama", `{"architectures": null, "model_type": "phi"}`, `model_type "phi"`},
		{"llama", `{"architectures": "LlamaForCausalLM"}`, "architectures: "},
		{"llama", `{"hidden_act": "relu2"}`, `hidden_act "relu2"`},
		{"llama", `{"rope_scaling": {"rope_type": "longrope", "factor": 4}}`, `rope_type "longrope"`},
		{"llama", `{"rope_scaling": {"rope_type": "linear", "factor": 4, "attention_factor": 2}}`, "rope_scaling.attention_factor is not known"},
		{"llama", `{"rope_scaling": {"rope_type": "yarn", "factor": 4, "attn_factor": 0.9}}`, "--ignore-config-key rope_scaling.attn_factor"},
		{"llama", `{"rope_scaling": {"rope_type": "yarn", "type": "linear", "factor": 4}}`, `rope_type is "yarn" and type "linear"`},
		{"llama", `{"rope_scaling": {"rope_type": "yarn"}}`, "factor is 0"},
		{"llama", `{"rope_scaling": {"rope_type": "yarn", "factor": 4, "truncate": null}}`, "truncate"},
		{"llama", `{"rope_scaling": {"rope_type": "llama3", "factor": 4}}`, "low_freq_factor is 0"},
		{"llama", `{"rope_scaling": {"rope_type": "linear", "factor": 4}, "rope_parameters": {"rope_type": "default"}}`, "rope_scaling and rope_parameters"},
		{"llama", `{"rope_theta": 5, "rope_parameters": {"rope_type": "default", "rope_theta": 6}}`, "rope_theta is 5, and 6"},
		{"llama", `{"rope_parameters": {"full_attention": {"rope_type": "default"}}}`, "rope_parameters.full_attention"},
		{"llama", `{"rope_scaling": "linear"}`, "rope_scaling"},
		{"mistral", `{"attention_bias": true}`, "attention_bias is true"},
		{"mistral", `{"use_sliding_window": false}`, "--sliding-window"},
		{"mistral", `{"layer_types": ["full_attention", "sliding_attention"]}`, "layer_types says full_attention of layer 0"},
		{"mistral", `{"sliding_window": 0}`, "sliding_window is 0"},
		{"qwen2", `{"attention_bias": false}`, "attention_bias is false"},
		{"qwen2", `{"mlp_bias": true}`, "mlp_bias is true"},
		{"qwen3", `{"layer_types": ["linear_attention", "full_attention"]}`, `"linear_attention" is not implemented`},
		{"gpt2", `{"add_cross_attention": true}`, "add_cross_attention is true"},
		{"gpt2", `{"rope_theta": 10000}`, "rope_theta is not known"},
		{"gpt2", `{"layer_norm_epsilon": -1}`, "layer_norm_epsilon is -1"},
	} {
		if err := CheckConfig("base", changed(t, c.base, c.changes), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %s", c.base, c.changes, err, c.want)
		}
	}
}

// TestTakenConfigs: what changes nothing is taken.
func TestTakenConfigs(t *testing.T) {
	for _, c := range []struct{ base, changes string }{
		{"llama", `{"architectures": null}`},
		{"llama", `{"architectures": []}`},
		{"llama", `{"model_type": null}`},
		{"llama", `{"sorcery": null, "partial_rotary_factor": 1.0, "pretraining_tp": 8}`},
		{"llama", `{"head_dim": null, "mlp_bias": null, "attention_bias": null, "tie_word_embeddings": null}`},
		{"gpt2", `{"n_inner": null, "scale_attn_by_inverse_layer_idx": null}`},
		{"llama", `{"sliding_window": null, "use_sliding_window": false}`},
		{"llama", `{"sliding_window": 4096}`}, // longer than the context
		{"llama", `{"rope_scaling": null, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "factor": null}}`},
		{"mistral", `{"layer_types": ["sliding_attention", "sliding_attention"]}`},
		{"qwen2", `{"attention_bias": true}`},
		{"qwen2", `{"sliding_window": 0, "use_sliding_window": false}`},
		{"gpt2", `{"reorder_and_upcast_attn": true}`},
	} {
		if err := CheckConfig("base", changed(t, c.base, c.changes), Options{}); err != nil {
			t.Errorf("%s with %s: %v", c.base, c.changes, err)
		}
	}
}

// TestIgnoredKeys: what is named counts as missing, and is said.
func TestIgnoredKeys(t *testing.T) {
	config := changed(t, "llama", `{"sorcery": 3, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attn_factor": 0.9}}`)
	s := &Source{Name: "base"}
	if err := s.configure(config, Options{IgnoreConfigKeys: []string{"sorcery", "rope_scaling.attn_factor", "absent"}}); err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) != 3 || !strings.Contains(s.Warnings[0], "sorcery") || !strings.Contains(s.Warnings[2], "has no absent") {
		t.Errorf("warnings %q", s.Warnings)
	}
	var written map[string]any
	if b, err := s.FolderConfig(); err != nil || json.Unmarshal(b, &written) != nil || written["sorcery"] != 3.0 {
		t.Errorf("a folder would say %v (%v)", written, err)
	}
}

// TestOverrideWindow: --sliding-window replaces what a configuration says.
func TestOverrideWindow(t *testing.T) {
	for _, c := range []struct {
		base, changes string
		window        int
		want          []int
	}{
		{"mistral", `{}`, 5, []int{5, 5}},
		{"mistral", `{}`, 0, []int{0, 0}},
		{"mistral", `{"use_sliding_window": false}`, 7, []int{7, 7}},
		{"qwen2", `{"max_window_layers": 28}`, 7, []int{7, 7}},
		{"qwen2", `{"layer_types": null, "max_window_layers": 1}`, 7, []int{0, 7}},
		{"qwen3", `{"use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"]}`, 7, []int{7, 0}},
		{"qwen3", `{"use_sliding_window": true, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}`, 0, []int{0, 0}},
		{"llama", `{"sliding_window": 4}`, 0, []int{0, 0}},
	} {
		s := &Source{Name: "base"}
		if err := s.configure(changed(t, c.base, c.changes), Options{SlidingWindow: &c.window}); err != nil {
			t.Errorf("%s with %s: %v", c.base, c.changes, err)
			continue
		}
		read, err := readLlama(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := []int{read.window(s.Architecture.Class, 0), read.window(s.Architecture.Class, 1)}; !slices.Equal(got, c.want) {
			t.Errorf("%s with %s and %d: windows %v, want %v", c.base, c.changes, c.window, got, c.want)
		}
	}
	for base, want := range map[string]string{"llama": "LlamaForCausalLM has none", "gpt2": "GPT2LMHeadModel has none"} {
		if err := CheckConfig("base", changed(t, base, `{}`), Options{SlidingWindow: new(4)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", base, err)
		}
	}
}
