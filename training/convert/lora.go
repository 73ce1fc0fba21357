package convert

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// pair is the two factors of one module, as PEFT shapes them: A [r, in], B
// [out, r]; of an embedding A [r, V], B [d, r].
type pair struct {
	module    string
	a, b      safetensors.Tensor
	magnitude *safetensors.Tensor // DoRA's, [out]
	embedding bool
}

func (p *pair) rank() int { return p.a.Shape[0] }

// pairs sorts the tensors of a LoRA into modules; what is neither A, B nor a
// magnitude is returned besides.
func (m *middle) pairs() (all []*pair, rest []safetensors.Tensor, err error) {
	found := map[string]*pair{}
	at := func(module string) *pair {
		if found[module] == nil {
			found[module] = &pair{module: module}
		}
		return found[module]
	}
	for _, t := range m.tensors {
		name := strings.TrimPrefix(t.Name, prefix)
		switch module, end := cut(name); end {
		case ".lora_A.weight", ".lora_embedding_A":
			at(module).a = t
			at(module).embedding = end == ".lora_embedding_A"
		case ".lora_B.weight", ".lora_embedding_B":
			at(module).b = t
		case ".lora_magnitude_vector":
			at(module).magnitude = &t
		default:
			rest = append(rest, t)
		}
	}
	for _, module := range slices.Sorted(maps.Keys(found)) {
		p := found[module]
		if len(p.a.Shape) != 2 || len(p.b.Shape) != 2 || p.a.Shape[0] != p.b.Shape[1] {
			return nil, nil, fmt.Errorf("%w: %s has the factors %v and %v", ErrTensor, module, p.a.Shape, p.b.Shape)
		}
		all = append(all, p)
	}
	return all, rest, nil
}

var pairEnds = []string{".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B", ".lora_magnitude_vector"}

func cut(name string) (module, end string) {
	for _, e := range pairEnds {
		if m, ok := strings.CutSuffix(name, e); ok {
			return m, e
		}
	}
	return name, ""
}

// plain demands that a LoRA does nothing but B·A at its modules.
func (m *middle) plain(config *adapters.Config, form string) ([]*pair, error) {
	if config.Type != "LORA" {
		return nil, fmt.Errorf("%w: %s has no %s", ErrHold, form, config.Method.Name())
	}
	all, rest, err := m.pairs()
	if err != nil {
		return nil, err
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
func (m *middle) fromPairs(all []*pair, alpha float64) error {
	if len(all) == 0 {
		return fmt.Errorf("%w: there are no low-rank factors", ErrTensor)
	}
	r := 0
	for _, p := range all {
		r = max(r, p.rank())
	}
	ranks := map[string]any{}
	for _, p := range all {
		if p.rank() != r {
			ranks[p.module] = p.rank()
		}
	}
	m.values["peft_type"], m.values["r"], m.values["lora_alpha"] = "LORA", r, number(alpha)
	if len(ranks) > 0 {
		m.values["rank_pattern"] = ranks
	}
	m.values["bias"], m.values["inference_mode"], m.values["init_lora_weights"] = "none", true, true
	m.values["fan_in_fan_out"] = slices.ContainsFunc(all, func(p *pair) bool { return conv1D(p.module) })
	m.target(all)
	m.add(all)
	return nil
}

// conv1D reports whether a module is one of GPT-2's, which keep W transposed:
// PEFT's fan_in_fan_out.
func conv1D(module string) bool { return strings.HasPrefix(module, "transformer.h.") }

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
func (m *middle) target(all []*pair) {
	byLayer := map[int][]string{}
	var full []string
	last := 0
	for _, p := range all {
		layer := -1
		if n := layerNumber.FindStringSubmatch(p.module); n != nil {
			layer, _ = strconv.Atoi(n[1])
		}
		byLayer[layer] = append(byLayer[layer], lastName(p.module))
		last = max(last, layer)
		full = append(full, p.module)
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
func (m *middle) add(all []*pair) {
	for _, p := range all {
		a, b := ".lora_A.weight", ".lora_B.weight"
		if p.embedding {
			a, b = ".lora_embedding_A", ".lora_embedding_B"
		}
		p.a.Name, p.b.Name = prefix+p.module+a, prefix+p.module+b
		m.tensors = append(m.tensors, p.a, p.b)
		if p.magnitude != nil {
			p.magnitude.Name = prefix + p.module + ".lora_magnitude_vector"
			m.tensors = append(m.tensors, *p.magnitude)
		}
	}
}
