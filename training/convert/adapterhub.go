package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// AdapterHub's folders (adapters/loading.py): adapter_config.json with the
// method's own settings under "config", and tensors that carry the adapter's
// name in the middle of theirs.

// hubFiles are the names of the tensor file, the safe one first.
var hubFiles = []string{"adapter.safetensors", "pytorch_adapter.bin"}

// bottleneckKeys are the keys of BnConfig that say what a bottleneck computes,
// or that our configuration refuses by name.
var bottleneckKeys = []string{
	"mh_adapter", "output_adapter", "reduction_factor", "non_linearity", "original_ln_before", "original_ln_after", "ln_before", "ln_after",
	"residual_before_ln", "adapter_residual_before_ln", "is_parallel", "scaling", "use_gating", "leave_out", "init_weights", "dropout",
}

// refusedKeys ask for modules that are not there when they are empty.
var refusedKeys = []string{"phm_layer", "inv_adapter", "cross_adapter", "stochastic_depth"}

// silentKeys say nothing when refusedKeys are empty.
var silentKeys = []string{
	"factorized_phm_W", "factorized_phm_rule", "hypercomplex_nonlinearity", "init_weights_seed", "inv_adapter_reduction_factor", "learn_phm",
	"phm_bias", "phm_c_init", "phm_dim", "phm_init_range", "phm_rank", "shared_W_phm", "shared_phm_rule", "dtype", "architecture",
	"attention_type", "new_attention_norm",
}

// oldKeys are renamed since the library's first release.
var oldKeys = map[string]string{"LN_before": "ln_before", "LN_after": "ln_after", "MH_Adapter": "mh_adapter", "Output_Adapter": "output_adapter"}

// named are the configurations that a file may give by name alone.
var named = map[string]map[string]any{
	"houlsby":  {"mh_adapter": true, "output_adapter": true, "reduction_factor": 16, "non_linearity": "swish", "original_ln_before": false},
	"pfeiffer": {"mh_adapter": false, "output_adapter": true, "reduction_factor": 16, "non_linearity": "relu", "original_ln_before": true},
	"parallel": {"mh_adapter": false, "output_adapter": true, "reduction_factor": 2, "non_linearity": "relu", "is_parallel": true, "scaling": 4.0},
}

func init() {
	named["double_seq_bn"], named["seq_bn"], named["par_bn"] = named["houlsby"], named["pfeiffer"], named["parallel"]
}

// readAdapterHub reads an AdapterHub folder.
func readAdapterHub(o Options) (*middle, error) {
	file, err := readConfig(o.From)
	if err != nil {
		return nil, err
	}
	settings, err := hubSettings(file["config"])
	if err != nil {
		return nil, err
	}
	m := &middle{values: map[string]any{"inference_mode": true}}
	m.nameBase(o, text(file["model_name"]))
	if class := text(file["model_class"]); strings.HasSuffix(class, "ForCausalLM") || strings.HasSuffix(class, "LMHeadModel") {
		m.values["task_type"] = "CAUSAL_LM"
	}
	tensors, closeFile, err := readTensors(o.From, hubFiles...)
	if err != nil {
		return nil, err
	}
	m.close = closeFile
	m.name = text(file["name"])
	switch architecture := settings["architecture"]; architecture {
	case nil, "bottleneck":
		err = m.fromBottlenecks(settings, tensors)
	case "lora":
		err = m.fromHubLoRA(settings, tensors)
	default:
		err = fmt.Errorf("%w: AdapterHub's architecture %q", ErrHold, architecture)
	}
	if err == nil {
		err = m.readHubHead(o)
	}
	if err != nil {
		_ = m.close()
		return nil, err
	}
	return m, nil
}

// hubSettings returns the settings under today's names.
func hubSettings(config any) (map[string]any, error) {
	switch c := config.(type) {
	case string:
		if known, ok := named[c]; ok {
			return known, nil
		}
		return nil, fmt.Errorf("%w: AdapterHub's configuration %q is not known by name", ErrConfig, c)
	case map[string]any:
		out := map[string]any{}
		for key, v := range c {
			if now, ok := oldKeys[key]; ok {
				key = now
			}
			out[key] = v
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: \"config\" is missing", ErrConfig)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// known demands that every key of the settings is listed, or asks for nothing.
func known(settings map[string]any, lists ...[]string) error {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if slices.ContainsFunc(lists, func(l []string) bool { return slices.Contains(l, key) }) || nothing(settings[key]) {
			continue
		}
		return fmt.Errorf("%w: AdapterHub's key %q (%v) is not known: it may change what the adapter computes", ErrHold, key, settings[key])
	}
	return nil
}

// nothing reports whether a value asks for nothing.
func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// places maps where AdapterHub hangs a bottleneck, within a block, to the
// sublayer whose output it follows.
var places = []struct{ theirs, ours string }{
	{"model.layers.%s.attention_adapters", "model.layers.%s.self_attn"},
	{"model.layers.%s.output_adapters", "model.layers.%s.mlp"},
	{"transformer.h.%s.attention_adapters", "transformer.h.%s.attn"},
	{"transformer.h.%s.output_adapters", "transformer.h.%s.mlp"},
	{"transformer.layer.%s.attention_adapters", "transformer.layer.%s.attention"},
	{"transformer.layer.%s.output_adapters", "transformer.layer.%s.ffn"},
	{"encoder.layer.%s.attention.output", "encoder.layer.%s.attention.output"},
	{"encoder.layer.%s.output", "encoder.layer.%s.output"},
}

// placePrefix is what stands before the places of encoders in classes with a head.
var placePrefix = regexp.MustCompile(`^(bert|roberta|distilbert|electra|deberta)\.`)

// hubName splits a tensor's name at the adapter's: "<place>.adapters.<name>.<rest>",
// under the names of the library's first releases too.
var hubName = regexp.MustCompile(`^(.+)\.(?:adapters|attention_text_task_adapters|attention_text_lang_adapters|layer_text_task_adapters|layer_text_lang_adapters)\.([^.]+)\.(.+)$`)

var hubLayer = regexp.MustCompile(`\.(?:layers|h|layer)\.(\d+)\.`)

// sublayer is the site of a bottleneck that hangs at place.
func sublayer(place string) (string, bool) {
	n := hubLayer.FindStringSubmatch(place)
	if n == nil {
		return "", false
	}
	before := placePrefix.FindString(place)
	for _, p := range places {
		if before+fmt.Sprintf(p.theirs, n[1]) == place {
			return before + fmt.Sprintf(p.ours, n[1]), true
		}
	}
	return "", false
}

// fromBottlenecks turns bottlenecks into ours.
func (m *middle) fromBottlenecks(settings map[string]any, tensors []safetensors.Tensor) error {
	if err := known(settings, bottleneckKeys, refusedKeys, silentKeys); err != nil {
		return err
	}
	m.values["peft_type"] = "BOTTLENECK"
	for _, key := range slices.Concat(bottleneckKeys, refusedKeys) {
		if v, ok := settings[key]; ok && (slices.Contains(bottleneckKeys, key) || !nothing(v)) {
			m.values[key] = v
		}
	}
	before, _ := settings["ln_before"].(bool)
	linear := "adapter_down.0."
	if before {
		linear = "adapter_down.1."
	}
	twice := map[string]safetensors.Tensor{} // norms that are in the file twice
	for _, t := range tensors {
		parts := hubName.FindStringSubmatch(t.Name)
		if parts == nil {
			return fmt.Errorf("%w %q is not a bottleneck's", ErrTensor, t.Name)
		}
		site, ok := sublayer(parts[1])
		if !ok {
			return fmt.Errorf("%w %q hangs where no bottleneck of ours does", ErrTensor, t.Name)
		}
		rest := parts[3]
		switch {
		case strings.HasPrefix(rest, linear):
			rest = "adapter_down." + strings.TrimPrefix(rest, linear)
		case before && strings.HasPrefix(rest, "adapter_down.0."):
			twice[prefix+site+".adapter_norm_before."+strings.TrimPrefix(rest, "adapter_down.0.")] = t
			continue
		}
		t.Name = prefix + site + "." + rest
		m.tensors = append(m.tensors, t)
	}
	for name, t := range twice {
		i := slices.IndexFunc(m.tensors, func(other safetensors.Tensor) bool { return other.Name == name })
		if i < 0 || string(m.tensors[i].Data) != string(t.Data) {
			return fmt.Errorf("%w %q differs from its other copy", ErrTensor, t.Name)
		}
	}
	return nil
}

var hubLoRAKeys = []string{"r", "alpha", "attn_matrices", "selfattn_lora", "intermediate_lora", "output_lora", "leave_out", "init_weights", "dropout", "use_dora"}

var hubFactor = regexp.MustCompile(`^(.+)\.loras\.([^.]+)\.(lora_A|lora_B|m\.weight)$`)

// fromHubLoRA turns AdapterHub's LoRA into PEFT's.
func (m *middle) fromHubLoRA(settings map[string]any, tensors []safetensors.Tensor) error {
	if mode := text(settings["composition_mode"]); mode != "" && mode != "add" {
		return fmt.Errorf("%w: AdapterHub's composition_mode %q", ErrHold, mode)
	}
	if err := known(settings, hubLoRAKeys, silentKeys, []string{"composition_mode"}); err != nil {
		return err
	}
	r, alpha := float(settings["r"], 8), float(settings["alpha"], 8)
	if !(r >= 1) || !(alpha > 0) {
		return fmt.Errorf("%w: r is %v and alpha %v", ErrConfig, settings["r"], settings["alpha"])
	}
	found := map[string]*[3]safetensors.Tensor{}
	for _, t := range tensors {
		parts := hubFactor.FindStringSubmatch(t.Name)
		if parts == nil {
			return fmt.Errorf("%w %q is not a LoRA's", ErrTensor, t.Name)
		}
		if found[parts[1]] == nil {
			found[parts[1]] = &[3]safetensors.Tensor{}
		}
		found[parts[1]][slices.Index([]string{"lora_A", "lora_B", "m.weight"}, parts[3])] = t
	}
	var all []*adapters.Factors
	for _, module := range slices.Sorted(maps.Keys(found)) {
		f := found[module]
		p := &adapters.Factors{Module: module, A: f[0], B: f[1]}
		if strings.HasSuffix(module, ".c_attn") {
			var err error
			if p, err = spread(module, f[0], f[1], letters(settings["attn_matrices"])); err != nil {
				return err
			}
			m.ranks(module, p.Rank(), int(r), alpha)
		}
		if len(p.A.Shape) != 2 || len(p.B.Shape) != 2 || p.A.Shape[0] != p.B.Shape[1] {
			return fmt.Errorf("%w: %s has the factors %v and %v", ErrTensor, module, p.A.Shape, p.B.Shape)
		}
		if f[2].Name != "" {
			f[2].Shape = f[2].Shape[:1]
			p.Magnitude = &f[2]
		}
		all = append(all, p)
	}
	if on, _ := settings["use_dora"].(bool); on {
		m.values["use_dora"] = true
		m.warn("AdapterHub's DoRA takes the norm of W + BA without the scaling, and multiplies the bias too: PEFT computes the same only where alpha is r and there is no bias")
	}
	patterns := m.values["rank_pattern"]
	if err := m.fromPairs(all, alpha); err != nil {
		return err
	}
	m.values["r"] = int(r)
	delete(m.values, "rank_pattern")
	if patterns != nil {
		m.values["rank_pattern"] = patterns
	}
	if d := settings["dropout"]; !nothing(d) {
		m.values["lora_dropout"] = d
	}
	return nil
}

// ranks notes that a fused module has n times the rank, and the same scaling.
func (m *middle) ranks(module string, rank, r int, alpha float64) {
	if rank == r {
		return
	}
	m.values["rank_pattern"] = map[string]any{lastName(module): rank}
	m.values["alpha_pattern"] = map[string]any{lastName(module): number(alpha * float64(rank) / float64(r))}
}

// letters are the parts of a fused projection that attn_matrices names.
func letters(v any) []int {
	list, ok := v.([]any)
	if !ok {
		return []int{0, 2} // LoRAConfig's default
	}
	var parts []int
	for i, letter := range []string{"q", "k", "v"} {
		if slices.Contains(list, any(letter)) {
			parts = append(parts, i)
		}
	}
	return parts
}

func float(v any, fallback float64) float64 {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err == nil {
			return f
		}
	case nil:
		return fallback
	}
	return -1
}
