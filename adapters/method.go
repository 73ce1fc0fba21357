package adapters

import (
	"fmt"
	"slices"
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

// family is what is known of one peft_type.
type family struct {
	parse parser
	keys  keys
}

var methods = map[string]family{}

// register makes a family known by its peft_type.
func register(peftType string, p parser, k keys) {
	if _, ok := methods[peftType]; ok {
		panic("adapters: " + peftType + " is registered twice")
	}
	methods[peftType] = family{p, k}
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
