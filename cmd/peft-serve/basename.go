package main

import (
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
)

// baseNames are what a base goes by: its folder, file or repository, and the names that
// its files give it, of which peft-train takes one. See adapters.BaseName for how they
// are compared.
func baseNames(uri string, b *base) []string {
	return append([]string{uri, b.path}, b.source.Names()...)
}

// stranger tells that an adapter names another base; empty where it names this
// one, or none.
func (b *base) stranger(named string) string {
	name := adapters.BaseName(named)
	if name == "" || slices.ContainsFunc(b.names, func(own string) bool { return adapters.BaseName(own) == name }) {
		return ""
	}
	return fmt.Sprintf("base_model_name_or_path is %q, and the base served here is %q", named, b.names[0])
}

// inspect is stranger of the adapter in a folder.
func (b *base) inspect(dir string) string { return b.stranger(adapters.NamedBase(dir)) }
