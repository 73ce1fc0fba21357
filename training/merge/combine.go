package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// ErrCombine: the adapters cannot become one, or not as asked.
var ErrCombine = errors.New("combining adapters")

// Combination says how several LoRA adapters become one, as PEFT's
// add_weighted_adapter has it.
type Combination struct {
	Adapters []string // PEFT folders
	Weights  []float64
	Kind     string // one of Kinds
	// Density is the share of each factor's values that pruning keeps.
	Density float64
	// MajoritySign is how TIES elects a sign: by the total of the values, or
	// by the frequency of the signs. Empty: total.
	MajoritySign string
	Seed         uint64 // of DARE's masks
}

// Kinds are the kinds of combination. cat puts the factors side by side, which
// is exactly the weighted sum of the changes; the others compute with A and
// with B by themselves, which approximates it.
var Kinds = []string{"linear", "cat", "ties", "dare_linear", "dare_ties", "magnitude_prune"}

// prunes, elects and draws are the kinds that drop values, that elect a sign
// and that drop at random.
func (c *Combination) prunes() bool { return c.Kind != "linear" && c.Kind != "cat" }
func (c *Combination) elects() bool { return c.Kind == "ties" || c.Kind == "dare_ties" }
func (c *Combination) draws() bool  { return c.Kind == "dare_linear" || c.Kind == "dare_ties" }

// Check refuses what does not go together, by the command's flags.
func (c *Combination) Check() error {
	switch {
	case !slices.Contains(Kinds, c.Kind):
		return fmt.Errorf("%w: --combine is %q, want one of %q", ErrCombine, c.Kind, Kinds)
	case len(c.Adapters) < 2:
		return fmt.Errorf("%w: --combine wants two --adapter or more, there is %d", ErrCombine, len(c.Adapters))
	case len(c.Weights) != len(c.Adapters):
		return fmt.Errorf("%w: --weights has %d numbers for %d --adapter", ErrCombine, len(c.Weights), len(c.Adapters))
	case c.prunes() && !(c.Density > 0 && c.Density <= 1):
		return fmt.Errorf("%w: --combine %s wants --density above 0 and up to 1, it is %v", ErrCombine, c.Kind, c.Density)
	case !c.prunes() && c.Density != 0:
		return fmt.Errorf("%w: --combine %s reads no --density", ErrCombine, c.Kind)
	case !c.elects() && c.MajoritySign != "":
		return fmt.Errorf("%w: --combine %s reads no --majority-sign", ErrCombine, c.Kind)
	case !slices.Contains([]string{"", "total", "frequency"}, c.MajoritySign):
		return fmt.Errorf("%w: --majority-sign is %q, want total or frequency", ErrCombine, c.MajoritySign)
	case !c.draws() && c.Seed != 0:
		return fmt.Errorf("%w: --combine %s draws nothing and reads no --seed", ErrCombine, c.Kind)
	}
	for i, w := range c.Weights {
		if math.IsNaN(w) || math.Abs(w) > math.MaxFloat32 {
			return fmt.Errorf("%w: --weights has %v for %s", ErrCombine, w, c.Adapters[i])
		}
	}
	return nil
}

// Combined is what a combination came to.
type Combined struct {
	Digest     string   `json:"digest"`
	Rank       int      `json:"rank"`
	Tensors    int      `json:"tensors"`
	Parameters int      `json:"parameters"`
	Warnings   []string `json:"warnings,omitempty"`
}

// WriteCombined writes the combination as a PEFT folder.
func WriteCombined(c Combination, output string, overwrite bool) (*Combined, error) {
	if err := vacant(output, overwrite, c.Adapters); err != nil {
		return nil, err
	}
	folder, warnings, err := Combine(c)
	if err != nil {
		return nil, err
	}
	r := &Combined{Digest: folder.Digest(), Rank: folder.Config.Method.Rank(), Tensors: len(folder.Tensors()), Warnings: warnings}
	for _, t := range folder.All() {
		r.Parameters += t.Len()
	}
	return r, beside(output, folder.Save)
}

// source is one of the adapters.
type source struct {
	*adapters.Folder
	weight  float64
	values  map[string]any // adapter_config.json
	factors map[string]*adapters.Factors
}

// Combine makes one LoRA adapter of several, in memory. Its B·A is scaled by 1.
func Combine(c Combination) (folder *adapters.Folder, warnings []string, err error) {
	if err := c.Check(); err != nil {
		return nil, nil, err
	}
	var sources []*source
	whole := map[string]safetensors.Tensor{} // copies of the base's embeddings
	for i, dir := range c.Adapters {
		s, err := openSource(dir, c.Weights[i], whole)
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, s)
		warnings = append(warnings, leftOut(dir)...)
	}
	warning, err := alike(sources)
	if err != nil {
		return nil, nil, err
	}
	warnings = append(warnings, warning...)
	r, err := c.rank(sources)
	if err != nil {
		return nil, nil, err
	}
	tensors := slices.Collect(maps.Values(whole))
	ranks := map[string]int{}
	modules := modulesOf(sources)
	for _, module := range modules {
		f, err := c.combine(module, sources, r)
		if err != nil {
			return nil, nil, err
		}
		if f.Rank() != r {
			ranks[module] = f.Rank()
		}
		tensors = append(tensors, f.Tensors()...)
	}
	config, err := configOf(sources, modules, r, ranks)
	if err != nil {
		return nil, nil, err
	}
	return adapters.NewFolder("the combined adapter", config, tensors), warnings, nil
}

// openSource reads an adapter that is nothing but low-rank factors. What PEFT
// saves beside them, copies of the base's embeddings, joins whole.
func openSource(dir string, weight float64, whole map[string]safetensors.Tensor) (*source, error) {
	folder, err := adapters.Open(dir)
	if err != nil {
		return nil, err
	}
	if folder.Stored() != "" {
		return nil, fmt.Errorf("%w: %s is a GGUF file, whose rows are in llama.cpp's order: combine the folder of PEFT that it was made of", ErrCombine, dir)
	}
	s := &source{Folder: folder, weight: weight, factors: map[string]*adapters.Factors{}}
	if name := folder.Config.Method.Name(); name != "lora" && name != "rslora" {
		return nil, fmt.Errorf("%w: %s is %s: only LoRA and rsLoRA can be combined", ErrCombine, dir, name)
	}
	dec := json.NewDecoder(bytes.NewReader(folder.Config.JSON()))
	dec.UseNumber()
	if err := dec.Decode(&s.values); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCombine, dir, err)
	}
	for _, key := range []string{"modules_to_save", "bias", "lora_bias", "trainable_token_indices"} {
		if v := s.values[key]; v != nil && v != false && v != "none" && !reflect.DeepEqual(v, []any{}) && !reflect.DeepEqual(v, map[string]any{}) {
			return nil, fmt.Errorf("%w: %s has %s in its %s: only factors can be combined", ErrCombine, dir, key, adapters.ConfigFile)
		}
	}
	all, rest, err := adapters.LowRank(folder.All())
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCombine, dir, err)
	}
	for _, t := range rest {
		if !strings.HasSuffix(t.Name, ".weight") || strings.Contains(t.Name, ".lora_") {
			return nil, fmt.Errorf("%w: %s holds %q, which belongs to no factor", ErrCombine, dir, t.Name)
		}
		if had, ok := whole[t.Name]; ok && (had.DType != t.DType || !slices.Equal(had.Shape, t.Shape) || !bytes.Equal(had.Data, t.Data)) {
			return nil, fmt.Errorf("%w: %s has another %q than the adapters before it", ErrCombine, dir, t.Name)
		}
		whole[t.Name] = t
	}
	for _, f := range all {
		if f.Magnitude != nil {
			return nil, fmt.Errorf("%w: %s holds %q without use_dora", ErrCombine, dir, f.Magnitude.Name)
		}
		s.factors[f.Module] = f
	}
	return s, nil
}

// leftOut warns of files that say how an adapter is prompted and sampled: a
// combination has none of its own.
func leftOut(dir string) (warnings []string) {
	var there []string
	for _, name := range companions {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			there = append(there, name)
		}
	}
	if len(there) > 0 {
		warnings = append(warnings, fmt.Sprintf("of %s the combination leaves out %s", dir, strings.Join(there, ", ")))
	}
	return warnings
}

// alike demands that the adapters are for the same task and have factors where
// their configurations say so; bases of other names are warned of.
func alike(sources []*source) (warnings []string, err error) {
	first, modules := sources[0], modulesOf(sources)
	for _, s := range sources {
		if a, b := first.Config.Task, s.Config.Task; a != b {
			return nil, fmt.Errorf("%w: task_type is %q in %s and %q in %s", ErrCombine, a, first.Dir, b, s.Dir)
		}
		if a, b := first.Config.Base, s.Config.Base; adapters.BaseName(a) != adapters.BaseName(b) {
			warnings = append(warnings, fmt.Sprintf("%s is for the base %q and %s for %q", first.Dir, a, s.Dir, b))
		}
		for _, module := range modules {
			named, known, err := s.Config.Adapts(module)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Dir, err)
			}
			_, there := s.factors[module]
			switch {
			case known && named && !there:
				return nil, fmt.Errorf("%w: %s adapts %s, and has no factors of it", ErrCombine, s.Dir, module)
			case known && !named && there:
				return nil, fmt.Errorf("%w: %s has factors of %s, which its configuration does not adapt", ErrCombine, s.Dir, module)
			}
		}
	}
	return warnings, nil
}

// modulesOf lists the modules that one or more adapt, sorted.
func modulesOf(sources []*source) []string {
	all := map[string]bool{}
	for _, s := range sources {
		for module := range s.factors {
			all[module] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// rank is r of the result: the sum for cat, otherwise that of each of the
// adapters.
func (c *Combination) rank(sources []*source) (int, error) {
	first, sum := sources[0], 0
	for _, s := range sources {
		if c.Kind != "cat" && s.Config.Method.Rank() != first.Config.Method.Rank() {
			return 0, fmt.Errorf("%w: --combine %s wants equal ranks: %s has %d and %s has %d; cat takes any",
				ErrCombine, c.Kind, first.Dir, first.Config.Method.Rank(), s.Dir, s.Config.Method.Rank())
		}
		sum += s.Config.Method.Rank()
	}
	if c.Kind == "cat" {
		return sum, nil
	}
	return first.Config.Method.Rank(), nil
}

// configOf is the first adapter's configuration with the rank, the targets and
// the scaling of the result. PEFT keeps use_rslora, which would scale what has
// been scaled once more, by √r.
func configOf(sources []*source, modules []string, r int, ranks map[string]int) (*adapters.Config, error) {
	values := maps.Clone(sources[0].values)
	values["r"], values["lora_alpha"], values["use_rslora"] = r, r, false
	values["rank_pattern"], values["alpha_pattern"] = ranks, ranks
	filters := []string{"layers_to_transform", "layers_pattern", "exclude_modules"}
	union, simple := map[string]bool{}, true
	for _, s := range sources {
		list, ok := s.values["target_modules"].([]any)
		simple = simple && ok
		for _, name := range list {
			union[fmt.Sprint(name)] = true
		}
		for _, key := range filters {
			simple = simple && reflect.DeepEqual(s.values[key], values[key])
		}
	}
	values["target_modules"] = slices.Sorted(maps.Keys(union))
	if !simple { // their union is no list of ends with these filters
		values["target_modules"] = modules
		for _, key := range filters {
			values[key] = nil
		}
	}
	return adapters.NewConfig(values)
}
