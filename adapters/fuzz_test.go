package adapters_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// FuzzLoad binds whatever configuration and tensors it is given to a model: what
// is not refused by name computes.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"lora", "dora", "ia3", "prefix", "prompt", "vera", "miss", "adalora", "beft", "ln-tuning", "tokens", "bottleneck-norms", "lora-embed", "resized-tokens", "lora-patterns", "alora"} {
		dir := modeltest.Goldens(f, "llama-gqa", "adapters", name)
		config, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
		if err != nil {
			f.Fatal(err)
		}
		tensors, err := os.ReadFile(filepath.Join(dir, adapters.SafeFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, tensors)
	}
	m, pool := modeltest.Open(f, "llama-gqa"), modeltest.Pool(f, 1)
	f.Fuzz(func(t *testing.T, config, tensors []byte) {
		c, err := adapters.ParseConfig(config)
		if err != nil {
			return
		}
		file, err := safetensors.Parse(adapters.SafeFile, tensors)
		if err != nil {
			return
		}
		var all []safetensors.Tensor
		for tensor := range file.All() {
			all = append(all, tensor)
		}
		a, err := adapters.Load(m, adapters.NewFolder("fuzz", c, all))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz: ") {
				t.Errorf("no folder in %v", err)
			}
			return
		}
		if a.VirtualTokens() > 0 || a.PrefixTokens() > 0 {
			return // which take their places in a sequence
		}
		first := modeltest.Logits(t, m, pool, []int32{2, 7, 8, 9, 40}, a)
		again := modeltest.Logits(t, m, pool, []int32{2, 7, 8, 9, 40}, a)
		for i := range first.Rows {
			if !bytes.Equal(bits(first.Row(i)), bits(again.Row(i))) {
				t.Errorf("row %d changed", i)
			}
		}
	})
}

func bits(row []float32) []byte {
	stored := kernels.WeightOf(kernels.MatrixOf(1, len(row), row))
	return stored.Data
}

// FuzzTargets lays adapters out by whatever names and expressions a configuration
// gives for its modules, within the time that these may take.
func FuzzTargets(f *testing.F) {
	f.Add(`["q_proj","v_proj"]`, `null`, `null`, "q_proj", "lm_head")
	f.Add(`".*layers\\.[02]\\..*(q_proj|down_proj)"`, `["k_proj"]`, `null`, "^model.layers.0.self_attn.q_proj", "norm")
	f.Add(`"all-linear"`, `".*layers\\.2\\..*"`, `null`, `layers\.[02]\..*v_proj`, "embed_tokens")
	f.Add(`["up_proj"]`, `[]`, `"layers"`, "(?P<x>q)_proj", "input_layernorm")
	f.Add(`"(a+)+$"`, `"((.*)*)*x"`, `["(l|a|y|e|r|s)+"]`, "(.*.*)*!", "(x+x+)+y")
	m := modeltest.Open(f, "llama-gqa")
	f.Fuzz(func(t *testing.T, targets, exclude, layers, pattern, saved string) {
		config := map[string]any{"peft_type": "LORA", "r": 2, "modules_to_save": []string{saved}, "rank_pattern": map[string]any{pattern: 3}}
		for key, raw := range map[string]string{"target_modules": targets, "exclude_modules": exclude, "layers_pattern": layers} {
			var v any
			if json.Unmarshal([]byte(raw), &v) != nil {
				return
			}
			config[key] = v
		}
		if config["layers_pattern"] != nil {
			config["layers_to_transform"] = []int{0, 2}
		}
		c, err := adapters.NewConfig(config)
		if err != nil {
			return
		}
		if _, err := adapters.New(m, c); err != nil && !strings.Contains(err.Error(), "adapter ") {
			t.Errorf("no kind of fault in %v", err)
		}
	})
}

// FuzzSamplingDefaults: what is read of a generation_config.json can be sampled
// with.
func FuzzSamplingDefaults(f *testing.F) {
	f.Add([]byte(`{"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1, "eos_token_id": [1, 2]}`))
	f.Add([]byte(`{"temperature": null, "top_k": -1}`))
	f.Add([]byte(`{"temperature": 1e999, "top_p": "x"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		d, err := adapters.ParseSamplingDefaults(file)
		if err == nil && d.Validate() != nil {
			t.Errorf("%s was read: %v", file, d.Validate())
		}
	})
}
