package main

import (
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
)

// baseNames are what a base goes by: its folder, file or repository, and the
// names in a GGUF file. See adapters.BaseName for how they are compared.
func baseNames(uri string, b *base) []string {
	names := []string{uri, b.path}
	if b.source.GGUF != nil {
		for _, key := range []string{"general.name", "general.repo_url"} {
			if name, ok := b.source.GGUF.String(key); ok {
				names = append(names, name)
			}
		}
	}
	return names
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
