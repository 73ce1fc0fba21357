package main

import (
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
)

// validateKVType reports a --kv-type that there is none of.
func validateKVType(wrong *faults, name string) {
	var names []string
	for _, f := range kernels.KVFormats() {
		names = append(names, strings.ToLower(f.String()))
		if names[len(names)-1] == name {
			return
		}
	}
	wrong.add("--kv-type: %q is none of %s", name, strings.Join(names, ", "))
}

// validatePromptShare reports a --prompt-share that is none.
func validatePromptShare(wrong *faults, v float64) {
	if !(v >= 0 && v <= 1000) {
		wrong.add("--prompt-share: %v is not from 0 to 1000", v)
	}
}

// kvFormat is the format of a --kv-type that is valid.
func kvFormat(name string) kernels.Format {
	for _, f := range kernels.KVFormats() {
		if strings.EqualFold(f.String(), name) {
			return f
		}
	}
	return kernels.F32
}
