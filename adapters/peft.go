package adapters

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The keys that PEFT 0.21 writes, with the values that they have where nobody
// has said anything: an absent key means the same to PEFT and to us, and other
// tools look for what PEFT writes.

var anyPEFT = defaultsOf(`{
	"auto_mapping": null, "base_model_name_or_path": null, "inference_mode": true, "modules_to_save": null,
	"peft_version": "0.21.2", "revision": null, "task_type": null}`)

var peftDefaults = map[string][]member{
	"LORA": defaultsOf(`{
		"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "bias": "none", "corda_config": null,
		"ensure_weight_tying": false, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false,
		"init_lora_weights": true, "kasa_config": null, "layer_replication": null, "layers_pattern": null,
		"layers_to_transform": null, "loftq_config": {}, "lora_alpha": 8, "lora_bias": false, "lora_dropout": 0.0,
		"lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core", "monteclora_config": null,
		"qalora_group_size": 16, "r": 8, "rank_pattern": {}, "target_modules": null, "target_parameters": null,
		"trainable_token_indices": null, "use_bdlora": null, "use_dora": false, "use_qalora": false, "use_rslora": false,
		"velora_config": null}`),
	"IA3": defaultsOf(`{
		"exclude_modules": null, "fan_in_fan_out": false, "feedforward_modules": null, "init_ia3_weights": true,
		"target_modules": null}`),
	"BEFT":          defaultsOf(`{"init_weights": true, "target_modules": null}`),
	"PREFIX_TUNING": defaultsOf(`{"encoder_hidden_size": null, "init_weights": null, "prefix_projection": false}`),
	"PROMPT_TUNING": defaultsOf(`{
		"prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": null, "tokenizer_kwargs": null,
		"tokenizer_name_or_path": null}`),
}

func defaultsOf(object string) []member {
	members, err := parseObject([]byte(object))
	if err != nil {
		panic(err) // a fault of this file
	}
	return members
}

// ours are the types that PEFT has not.
var ours = []string{"BITFIT", "BOTTLENECK"}

// Complete adds the keys that PEFT writes and the configuration has not.
func (c *Config) Complete() {
	for _, d := range slices.Concat(anyPEFT, peftDefaults[c.Type]) {
		own := d.key == "peft_version" && slices.Contains(ours, c.Type)
		if c.value(d.key) == nil && !own {
			c.members = append(c.members, d)
		}
	}
}

// NameBase sets base_model_name_or_path and revision, null where they are empty.
func (c *Config) NameBase(name, revision string) error {
	c.Base = name
	for key, value := range map[string]string{"base_model_name_or_path": name, "revision": revision} {
		v := any(value)
		if value == "" {
			v = nil
		}
		if err := c.set(key, v); err != nil {
			return err
		}
	}
	return nil
}

// set writes a value, encoded as JSON, under a key.
func (c *Config) set(key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, key, err)
	}
	c.drop(key)
	c.members = append(c.members, member{key, b})
	return nil
}

func (c *Config) drop(key string) {
	c.members = slices.DeleteFunc(c.members, func(m member) bool { return m.key == key })
}
