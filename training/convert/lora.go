package convert

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// plain demands that a LoRA does nothing but B·A at its modules.
func (m *middle) plain(config *adapters.Config, form string) ([]*adapters.Factors, error) {
	if config.Type != "LORA" {
		return nil, fmt.Errorf("%w: %s has no %s", ErrHold, form, config.Method.Name())
	}
	all, rest, err := adapters.LowRank(m.tensors)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	for _, t := range rest {
		if !strings.HasSuffix(t.Name, ".base_layer.weight") { // PEFT's copy of an embedding
			return nil, fmt.Errorf("%w: %s has no place for %s", ErrHold, form, t.Name)
		}
		m.warn("%s, a copy of the base's, is left out", t.Name)
	}
	return all, nil
}

// fromPairs fills a LoRA's configuration in from its factors.
func (m *middle) fromPairs(all []*adapters.Factors, alpha float64) error {
	if len(all) == 0 {
		return fmt.Errorf("%w: there are no low-rank factors", ErrTensor)
	}
	r := 0
	for _, p := range all {
		r = max(r, p.Rank())
	}
	ranks := map[string]any{}
	for _, p := range all {
		if p.Rank() != r {
			ranks[p.Module] = p.Rank()
		}
	}
	m.values["peft_type"], m.values["r"], m.values["lora_alpha"] = "LORA", r, number(alpha)
	if len(ranks) > 0 {
		m.values["rank_pattern"] = ranks
	}
	m.complete(all)
	return nil
}

// complete adds what a LoRA's configuration says beside ranks and scales, and the factors.
func (m *middle) complete(all []*adapters.Factors) {
	m.values["bias"], m.values["inference_mode"], m.values["init_lora_weights"] = "none", true, true
	m.values["fan_in_fan_out"] = slices.ContainsFunc(all, func(p *adapters.Factors) bool { return models.Conv1D(p.Module) })
	m.target(all)
	m.add(all)
}

// number is an integer where it is one, as PEFT writes alpha.
func number(v float64) any {
	if v == float64(int(v)) {
		return int(v)
	}
	return v
}

var layerNumber = regexp.MustCompile(`\.(\d+)\.`)

// target sets target_modules: the modules' last names, with layers_to_transform
// where they are not in every layer up to the last; full names where the
// layers differ.
func (m *middle) target(all []*adapters.Factors) {
	byLayer := map[int][]string{}
	var full []string
	last := 0
	for _, p := range all {
		layer := -1
		if n := layerNumber.FindStringSubmatch(p.Module); n != nil {
			layer, _ = strconv.Atoi(n[1])
		}
		byLayer[layer] = append(byLayer[layer], lastName(p.Module))
		last = max(last, layer)
		full = append(full, p.Module)
	}
	names := byLayer[last]
	_, outside := byLayer[-1]
	for _, others := range byLayer {
		if outside || !slices.Equal(slices.Sorted(slices.Values(others)), slices.Sorted(slices.Values(names))) || len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
			m.values["target_modules"] = full
			return
		}
	}
	if slices.Contains(names, "output.dense") { // attention.output.dense ends so too
		m.values["target_modules"] = full
		return
	}
	m.values["target_modules"] = slices.Sorted(slices.Values(names))
	if layers := slices.Sorted(maps.Keys(byLayer)); len(layers) != last+1 {
		m.values["layers_to_transform"] = layers
	}
}

// lastName is the end of a module's name that tells it apart in its block: the
// last part, or all of it in the block where other modules share that.
func lastName(module string) string {
	last := module[strings.LastIndexByte(module, '.')+1:]
	if n := layerNumber.FindStringIndex(module); n != nil && (last == "c_proj" || last == "dense") {
		return module[n[1]:]
	}
	return last
}

// add adds the factors as PEFT names them.
func (m *middle) add(all []*adapters.Factors) {
	for _, p := range all {
		m.tensors = append(m.tensors, p.Tensors()...)
	}
}
