package adapters_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// written are the keys of a configuration as it is written.
func written(t *testing.T, b []byte) map[string]any {
	t.Helper()
	values := map[string]any{}
	require.NoError(t, json.Unmarshal(b, &values))
	return values
}

// TestKeysOfPEFT: what is written has the keys that PEFT itself has written in
// the goldens, and keys that say nothing have PEFT's values.
func TestKeysOfPEFT(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"lora": {"peft_type": "LORA"}, "ia3": {"peft_type": "IA3"}, "beft": {"peft_type": "BEFT"},
		"prefix": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5, "num_layers": 2, "num_attention_heads": 2, "token_dim": 8, "num_transformer_submodules": 1},
		"prompt": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 6, "num_layers": 2, "num_attention_heads": 4, "token_dim": 16, "num_transformer_submodules": 1},
	} {
		path, err := filepath.Glob(modeltest.Goldens(t, "llama-gqa", "adapters", name+"*", adapters.ConfigFile))
		require.NoError(t, err)
		b, err := os.ReadFile(path[0])
		require.NoError(t, err)
		c, err := adapters.NewConfig(values)
		require.NoError(t, err)
		want, got := written(t, b), written(t, c.JSON())
		require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), name)
		for _, key := range []string{"peft_version", "inference_mode", "megatron_core", "qalora_group_size", "loftq_config", "use_qalora", "prompt_tuning_init"} {
			require.Equal(t, want[key], got[key], "%s: %s", name, key)
		}
		require.Equal(t, c.JSON(), func() []byte { c.Complete(); return c.JSON() }(), "it is complete")
	}
}

// TestWrittenOut: shorthands become the modules that they mean, and the
// configuration adapts the same ones as before.
func TestWrittenOut(t *testing.T) {
	for _, c := range []struct {
		base    string
		values  map[string]any
		targets string
		inputs  string // feedforward_modules
	}{
		{"llama-gqa", map[string]any{"peft_type": "LORA"}, "q_proj v_proj", ""},
		{"llama-gqa", map[string]any{"peft_type": "LORA", "target_modules": "all-linear"}, "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj", ""},
		{"llama-gqa", map[string]any{"peft_type": "LORA", "target_modules": "ALL-linear", "exclude_modules": []string{"layers.0.self_attn.k_proj", "up_proj"}}, "q_proj k_proj v_proj o_proj gate_proj down_proj", ""},
		{"llama-gqa", map[string]any{"peft_type": "LORA", "target_modules": `.*\.0\..*(q|v)_proj`}, "layers.0.self_attn.q_proj layers.0.self_attn.v_proj", ""},
		{"llama-gqa", map[string]any{"peft_type": "LORA", "target_modules": []string{"model.layers.1.mlp.up_proj", "q_proj"}, "layers_to_transform": 1}, "q_proj up_proj", ""},
		{"llama-gqa", map[string]any{"peft_type": "LORA", "target_modules": []string{"embed_tokens", "v_proj"}, "modules_to_save": []string{"norm"}}, "embed_tokens v_proj", ""},
		{"gpt2", map[string]any{"peft_type": "LORA"}, "c_attn", ""},
		{"gpt2", map[string]any{"peft_type": "LORA", "target_modules": `.*mlp\.c_proj`}, "mlp.c_proj", ""},
		{"llama-gqa", map[string]any{"peft_type": "IA3"}, "k_proj v_proj down_proj", "down_proj"},
		{"llama-gqa", map[string]any{"peft_type": "IA3", "target_modules": []string{"q_proj"}}, "q_proj", "-"},
		{"gpt2", map[string]any{"peft_type": "IA3"}, "c_attn mlp.c_proj", "mlp.c_proj"},
		{"gpt2", map[string]any{"peft_type": "IA3", "target_modules": ".*c_proj"}, "attn.c_proj mlp.c_proj", "mlp.c_proj"},
		{"llama-gqa", map[string]any{"peft_type": "BEFT", "target_modules": "all-linear", "exclude_modules": []string{"layers.0.self_attn.q_proj"}}, "layers.1.self_attn.q_proj layers.2.self_attn.q_proj k_proj v_proj o_proj gate_proj up_proj down_proj", ""},
		{"gpt2", map[string]any{"peft_type": "BITFIT"}, "null", ""},
	} {
		m := modeltest.Open(t, c.base)
		before, err := adapters.NewConfig(c.values)
		require.NoError(t, err)
		after, err := adapters.WriteOut(m, before)
		require.NoError(t, err)
		values := written(t, after.JSON())
		list := func(key string) string {
			all, ok := values[key].([]any)
			if !ok {
				return "null"
			}
			var names []string
			for _, v := range all {
				names = append(names, v.(string))
			}
			return strings.Join(names, " ")
		}
		require.ElementsMatch(t, strings.Fields(c.targets), strings.Fields(list("target_modules")), "%v", c.values)
		if c.inputs != "" {
			require.Equal(t, strings.Trim(c.inputs, "-"), list("feedforward_modules"), "%v", c.values)
		}
		if c.values["peft_type"] == "BEFT" {
			require.NotContains(t, values, "exclude_modules")
		}
		a, err := adapters.New(m, before)
		require.NoError(t, err)
		b, err := adapters.New(m, after)
		require.NoError(t, err)
		names := func(a *adapters.Adapter) (all []string) {
			for _, p := range a.Params() {
				all = append(all, p.Name)
			}
			return all
		}
		require.Equal(t, names(a), names(b), "%v", c.values)
	}
}
