package convert

import (
	"encoding/json"
	"testing"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// FuzzAdapterHub reads settings and tensor names that anyone may have written:
// whatever is not refused must have a configuration that parses.
func FuzzAdapterHub(f *testing.F) {
	f.Add(`{"reduction_factor": 4, "original_ln_before": true}`, "model.layers.0.output_adapters.adapters.x.adapter_up.weight", 4, 32)
	f.Add(`{"architecture": "lora", "r": 4, "alpha": 8}`, "model.layers.0.self_attn.q_proj.loras.x.lora_A", 4, 32)
	f.Add(`{"architecture": "lora", "r": 1, "attn_matrices": ["q"]}`, "transformer.h.0.attn.c_attn.loras.x.lora_A", 1, 1)
	f.Add(`{"LN_before": true, "reduction_factor": {"default": 0}}`, "bert.encoder.layer.9.output.layer_text_task_adapters.x.adapter_down.0.bias", 0, 1)
	f.Fuzz(func(t *testing.T, config, name string, rows, cols int) {
		var settings map[string]any
		if json.Unmarshal([]byte(config), &settings) != nil || rows < 0 || cols < 0 || rows > 64 || cols > 64 {
			return
		}
		now, err := hubSettings(settings)
		if err != nil {
			return
		}
		m := &middle{values: map[string]any{}}
		tensors := []safetensors.Tensor{safetensors.FromFloat32s(name, []int{rows, cols}, make([]float32, rows*cols))}
		if err := m.fromBottlenecks(now, tensors); err == nil && len(m.tensors) > 1 {
			t.Errorf("%d tensors of one", len(m.tensors))
		}
		m = &middle{values: map[string]any{}}
		if err := m.fromHubLoRA(now, tensors); err == nil {
			t.Error("one factor alone is a LoRA")
		}
	})
}
