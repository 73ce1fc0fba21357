package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// hubVersion is the release whose folders are written.
const hubVersion = "adapters.1.2.0"

// writeAdapterHub writes an AdapterHub folder. The base's shape is needed: the
// file names its class and width.
func (m *middle) writeAdapterHub(o Options, config *adapters.Config) error {
	if o.Base == nil {
		return fmt.Errorf("%w: AdapterHub's configuration names its class and width: give --base", ErrBase)
	}
	name := o.Name
	if name == "" {
		name = m.name
	}
	if name == "" {
		name = "default"
	}
	if strings.ContainsAny(name, "./") {
		return fmt.Errorf("%w: an adapter of AdapterHub cannot be called %q", ErrHold, name)
	}
	head, err := m.splitHead(o.Base.Shape(), config)
	if err != nil {
		return err
	}
	var settings map[string]any
	var tensors []safetensors.Tensor
	switch config.Type {
	case "BOTTLENECK":
		settings, tensors, err = m.toBottlenecks(name)
	case "LORA":
		settings, tensors, err = m.toHubLoRA(name, config, o)
	default:
		err = fmt.Errorf("%w: AdapterHub has no %s that is written here", ErrHold, config.Method.Name())
	}
	if err != nil {
		return err
	}
	c := o.Base.Config()
	file := map[string]any{
		"config": settings, "hidden_size": c.Hidden, "model_class": c.Architecture.Class, "model_name": config.Base,
		"model_type": c.Architecture.ModelType, "name": name, "version": hubVersion,
	}
	if len(head) > 0 {
		file["model_class"] = hubClass(c.Architecture.Class)
	}
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return replace(o.To, func(dir string) error {
		if err := safetensors.WriteFile(filepath.Join(dir, hubFiles[0]), tensors, nil); err != nil {
			return err
		}
		if len(head) > 0 {
			if err := m.writeHubHead(dir, name, head, o, config, file); err != nil {
				return err
			}
		}
		return disk.Write(filepath.Join(dir, adapters.ConfigFile), b)
	})
}

// hubClass is AdapterHub's class of a model of transformers' under heads.
func hubClass(class string) string {
	stem, ok := strings.CutSuffix(class, "Model")
	if !ok {
		stem, _, _ = strings.Cut(class, "For")
	}
	return stem + "AdapterModel"
}

// toBottlenecks names our bottlenecks as AdapterHub does.
func (m *middle) toBottlenecks(name string) (map[string]any, []safetensors.Tensor, error) {
	settings := map[string]any{"architecture": nil}
	for _, key := range bottleneckKeys {
		if v, ok := m.values[key]; ok {
			settings[key] = v
		}
	}
	before, _ := m.values["ln_before"].(bool)
	var tensors []safetensors.Tensor
	for _, t := range m.tensors {
		full := strings.TrimPrefix(t.Name, prefix)
		site, rest, ok := "", "", false
		for _, part := range []string{".adapter_down.", ".adapter_up.", ".adapter_norm_before.", ".adapter_norm_after.", ".scaling"} {
			if i := strings.Index(full, part); i > 0 {
				site, rest, ok = full[:i], full[i+1:], true
			}
		}
		n := hubLayer.FindStringSubmatch(full)
		if !ok || n == nil {
			return nil, nil, fmt.Errorf("%w: AdapterHub has no place for %s", ErrHold, t.Name)
		}
		place, stem := "", placePrefix.FindString(site)
		for _, p := range places {
			if stem+fmt.Sprintf(p.ours, n[1]) == site {
				place = stem + fmt.Sprintf(p.theirs, n[1])
			}
		}
		if place == "" {
			return nil, nil, fmt.Errorf("%w: AdapterHub has no place for %s", ErrHold, t.Name)
		}
		add := func(rest string) {
			t.Name = place + ".adapters." + name + "." + rest
			tensors = append(tensors, t)
		}
		switch {
		case strings.HasPrefix(rest, "adapter_down.") && before:
			add("adapter_down.1." + strings.TrimPrefix(rest, "adapter_down."))
		case strings.HasPrefix(rest, "adapter_down."):
			add("adapter_down.0." + strings.TrimPrefix(rest, "adapter_down."))
		case strings.HasPrefix(rest, "adapter_norm_before."):
			add(rest)
			add("adapter_down.0." + strings.TrimPrefix(rest, "adapter_norm_before."))
		default:
			add(rest)
		}
	}
	return settings, tensors, nil
}

// attention and feedforward name AdapterHub's switches by module: in its
// decoders the down projection is "intermediate" and the up projection
// "output" (models/llama/mixin_llama.py), in GPT-2 and BERT the other way
// round.
var (
	attention   = map[string]string{"q_proj": "q", "k_proj": "k", "v_proj": "v", "query": "q", "key": "k", "value": "v", "q_lin": "q", "k_lin": "k", "v_lin": "v"}
	feedforward = map[string]string{
		"down_proj": "intermediate_lora", "up_proj": "output_lora", "mlp.c_fc": "intermediate_lora", "c_fc": "intermediate_lora",
		"mlp.c_proj": "output_lora", "intermediate.dense": "intermediate_lora", "output.dense": "output_lora",
	}
)

// toHubLoRA names a LoRA as AdapterHub does.
func (m *middle) toHubLoRA(name string, config *adapters.Config, o Options) (map[string]any, []safetensors.Tensor, error) {
	if config.Invocation() != nil {
		return nil, nil, fmt.Errorf("%w: AdapterHub has no aLoRA", ErrHold)
	}
	all, err := m.plain(config, "AdapterHub")
	if err != nil {
		return nil, nil, err
	}
	settings := map[string]any{
		"architecture": "lora", "composition_mode": "add", "selfattn_lora": false, "intermediate_lora": false, "output_lora": false,
		"use_dora": false, "use_gating": false, "init_weights": "lora", "dropout": 0.0,
	}
	if d, ok := m.values["lora_dropout"]; ok {
		settings["dropout"] = d
	}
	h := &hubLoRA{settings: settings, name: name, layers: map[int]string{}, own: ownRank(m.values)}
	for _, p := range all {
		_, scale, _, err := config.Scaling(p.Module)
		if err == nil {
			err = h.add(p, scale)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if len(h.letters) > 0 {
		settings["selfattn_lora"] = true
	}
	letters := slices.Sorted(maps.Keys(h.letters))
	slices.SortFunc(letters, func(a, b string) int { return strings.Index("qkv", a) - strings.Index("qkv", b) })
	settings["attn_matrices"], settings["r"], settings["alpha"] = letters, h.r, number(h.scale*float64(h.r))
	leave := []int{}
	for i := range o.Base.Config().Layers {
		if h.layers[i] == "" {
			leave = append(leave, i)
		}
	}
	settings["leave_out"] = leave
	want := ""
	for layer := range h.layers {
		modules := strings.Fields(h.layers[layer])
		slices.Sort(modules)
		if got := strings.Join(modules, " "); want == "" {
			want = got
		} else if got != want {
			return nil, nil, fmt.Errorf("%w: AdapterHub adapts the same modules in every layer; here they are %s and %s", ErrHold, want, got)
		}
	}
	if h.dora {
		settings["use_dora"] = true
		m.warn("AdapterHub's DoRA takes the norm of W + BA without the scaling, and multiplies the bias too: it computes the same only where alpha is r and there is no bias")
	}
	return settings, h.tensors, nil
}

func ownRank(values map[string]any) int {
	switch r := values["r"].(type) {
	case json.Number:
		n, _ := strconv.Atoi(r.String())
		return n
	case int:
		return r
	}
	return 8
}

// hubLoRA gathers what AdapterHub's single set of settings has to say.
type hubLoRA struct {
	settings map[string]any
	name     string
	own      int // r of the configuration
	r        int
	scale    float64
	letters  map[string]bool
	layers   map[int]string // modules by layer
	tensors  []safetensors.Tensor
	dora     bool
}

func (h *hubLoRA) add(p *adapters.Factors, scale float64) error {
	last := lastName(p.Module)
	a, b, r := p.A, p.B, p.Rank()
	if h.letters == nil {
		h.letters = map[string]bool{}
	}
	switch {
	case p.Embedding:
		return fmt.Errorf("%w: AdapterHub has no LoRA on %s", ErrHold, p.Module)
	case last == "c_attn":
		if p.Magnitude != nil {
			return fmt.Errorf("%w: AdapterHub's DoRA on the fused %s", ErrHold, p.Module)
		}
		var parts []int
		a, b, parts, _ = gather(p, h.own)
		r = b.Shape[1]
		for _, part := range parts {
			h.letters["qkv"[part:part+1]] = true
		}
	case attention[last] != "":
		h.letters[attention[last]] = true
	case feedforward[last] != "":
		h.settings[feedforward[last]] = true
	default:
		return fmt.Errorf("%w: AdapterHub has no LoRA on %s", ErrHold, p.Module)
	}
	if h.r == 0 {
		h.r, h.scale = r, scale
	}
	if h.r != r || h.scale != scale {
		return fmt.Errorf("%w: AdapterHub has one rank and one scaling; %s has %d and %v, others %d and %v", ErrHold, p.Module, r, scale, h.r, h.scale)
	}
	n := hubLayer.FindStringSubmatch(p.Module)
	if n == nil {
		return fmt.Errorf("%w: AdapterHub has no LoRA on %s", ErrHold, p.Module)
	}
	layer, _ := strconv.Atoi(n[1])
	h.layers[layer] += " " + last
	a.Name, b.Name = p.Module+".loras."+h.name+".lora_A", p.Module+".loras."+h.name+".lora_B"
	h.tensors = append(h.tensors, a, b)
	if p.Magnitude != nil {
		h.dora = true
		t := *p.Magnitude
		t.Name, t.Shape = p.Module+".loras."+h.name+".m.weight", []int{t.Shape[0], 1}
		h.tensors = append(h.tensors, t)
	}
	return nil
}
