package merge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestConverted merges into files of llama.cpp's converter: what comes out says
// all that the file said, in a folder's words too. Merge itself holds the result
// against base and adapter.
func TestConverted(t *testing.T) {
	for name, want := range map[string]struct {
		reading      models.Options
		architecture string
		keys         map[string]string // of config.json
	}{
		"llama-llama3": {architecture: "LlamaForCausalLM", keys: map[string]string{
			"rope_scaling": `{"factor":4.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":32,"rope_type":"llama3"}`,
		}},
		"llama-yarn-attention": {architecture: "LlamaForCausalLM", keys: map[string]string{
			"rope_scaling": `{"attention_factor":1.399999976158142,"factor":4.0,"original_max_position_embeddings":32,"rope_type":"yarn"}`,
		}},
		"llama-biases":   {architecture: "LlamaForCausalLM", keys: map[string]string{"attention_bias": "true", "mlp_bias": "true"}},
		"mistral-window": {models.Options{SlidingWindow: new(12)}, "MistralForCausalLM", map[string]string{"sliding_window": "12", "model_type": `"mistral"`}},
		"qwen2-yarn":     {architecture: "Qwen2ForCausalLM", keys: map[string]string{}},
		"qwen3moe": {architecture: "Qwen3MoeForCausalLM", keys: map[string]string{
			"num_experts": "4", "num_experts_per_tok": "2", "moe_intermediate_size": "8", "norm_topk_prob": "true",
		}},
	} {
		adapter := loraOf(t, name, "layers.0.self_attn.q_proj")
		if name == "qwen3moe" { // some of the experts that the file holds as one tensor, and the router
			adapter = loraOf(t, name, "layers.0.mlp.experts.2.down_proj", "layers.0.mlp.experts.3.down_proj", "layers.1.mlp.experts.0.up_proj", "layers.1.mlp.gate")
		}
		o := Options{Base: modeltest.Goldens(t, "converted", name, "model.gguf"), Adapter: adapter, Reading: want.reading}
		for _, out := range []string{"merged.gguf", "merged"} {
			o.Output = filepath.Join(t.TempDir(), out)
			if r, err := Merge(o); err != nil || r.Difference > 1e-4 {
				t.Errorf("%s to %s: %+v, %v", name, out, r, err)
			}
		}
		config := map[string]json.RawMessage{}
		b, err := os.ReadFile(filepath.Join(o.Output, "config.json"))
		if err != nil || json.Unmarshal(b, &config) != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want.keys["architectures"] = fmt.Sprintf("[%q]", want.architecture)
		for key, v := range want.keys {
			var got, sought any
			if json.Unmarshal(config[key], &got) != nil || json.Unmarshal([]byte(v), &sought) != nil || fmt.Sprint(got) != fmt.Sprint(sought) {
				t.Errorf("%s: %s is %s, want %s", name, key, config[key], v)
			}
		}
	}
}

// loraOf writes a LoRA on modules of a converted base.
func loraOf(t *testing.T, name string, modules ...string) string {
	t.Helper()
	m, s, err := models.Open(modeltest.Goldens(t, "converted", name, "model.gguf"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	config, err := json.Marshal(map[string]any{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": modules, "task_type": "CAUSAL_LM"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Tensor
	for _, module := range modules {
		w := m.Sites()[m.Sites().Find("model."+module)].Linear.W
		for part, shape := range map[string][]int{"lora_A": {2, w.Cols}, "lora_B": {w.Rows, 2}} {
			v := modeltest.Float32s(modeltest.Numbers(part, shape[0]*shape[1], 0.5))
			tensors = append(tensors, safetensors.FromFloat32s("base_model.model.model."+module+"."+part+".weight", shape, v))
		}
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}
