package adapters

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Method is one family of adapters with the settings of one configuration.
type Method interface {
	// Name is what listings and metrics call it: "lora", "dora", "ia3".
	Name() string
	// Rank is the largest rank, 0 where the family has none.
	Rank() int
	// Build declares the adapter's parameters on a model's sites.
	Build(b *Builder) error
}

// parser reads the settings of one peft_type; it leaves its faults in s.
type parser func(s *settings) Method

// family is what is known of one peft_type, in one place.
type family struct {
	peftType string
	parse    parser
	keys     keys     // of its configuration
	defaults string   // the keys that PEFT writes beside those of every type, with their defaults, in JSON
	ours     bool     // PEFT has no such type
	tensors  []string // what its tensors are called, after the module's name: "lora_A"
	wrapped  string   // what stands before a module's name in tensors' names; empty: modulePrefix
	recipes  []Recipe // for training it
}

// modulePrefix stands before a module's name in the names of PEFT's tensors,
// where a family does not say otherwise.
const modulePrefix = "base_model.model."

// beside are the names of tensors that any family may have beside its own.
var beside = []string{"token_adapter", "trainable_tokens_delta", "base_layer"}

var methods = map[string]*family{}

// register makes a family known by its peft_type.
func register(f family) {
	if _, ok := methods[f.peftType]; ok {
		panic("adapters: " + f.peftType + " is registered twice")
	}
	methods[f.peftType] = &f
}

// NamePrefix stands before a module's name in PEFT's tensor names.
func (c *Config) NamePrefix() string { return cmp.Or(methods[c.Type].wrapped, modulePrefix) }

// Place reads the name of a tensor: its module, and what the family calls it;
// of a module that is saved whole, "weight" or "bias".
func (c *Config) Place(tensor string) (module, kind string) {
	name, ok := strings.CutPrefix(tensor, c.NamePrefix())
	if !ok {
		return "", tensor
	}
	parts := strings.Split(name, ".")
	known := slices.Concat(methods[c.Type].tensors, beside)
	i := slices.IndexFunc(parts, func(p string) bool { return slices.Contains(known, p) })
	if i < 0 {
		i = len(parts) - 1
	}
	return strings.Join(parts[:i], "."), parts[i]
}

// Layer is the block that a module lies in, by the first number in its name, as
// PEFT finds it; -1 outside the blocks.
func Layer(module string) int {
	if m := anyLayer.FindStringSubmatch(module + "."); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return -1
}

// Types lists the implemented values of peft_type, sorted.
func Types() []string {
	var types []string
	for t := range methods {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}

func unknownMethod(peftType string) error {
	return fmt.Errorf("%w: peft_type %q (implemented: %v)", ErrMethod, peftType, Types())
}
