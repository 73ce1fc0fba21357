package adapters

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// dropCopies takes away what PEFT writes of a module to save beside its own
// tensors where it saves embeddings or biases too: "<m>.modules_to_save.weight",
// which is "<m>.weight" once more, and "<m>.original_module.weight", the base's,
// in whose place the adapter's stands. They are no part of the content. Where
// the first differs, or stands alone, it stays, and is refused by name: but of a head,
// whose modules some older files have under such names alone.
func dropCopies(tensors map[string]safetensors.Tensor) {
	for _, name := range slices.Sorted(maps.Keys(tensors)) { // "modules_to_save" comes before "original_module"
		t, module, kind := tensors[name], name, ""
		if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
			module, kind = name[:dot], name[dot:]
		}
		if module, ok := wrappedModule(module); ok {
			own, there := tensors[module+kind]
			switch {
			case !there && isHeadModule(module):
				t.Name = module + kind
				tensors[t.Name] = t
				delete(tensors, name)
			case there && own.DType == t.DType && slices.Equal(own.Shape, t.Shape) && bytes.Equal(own.Data, t.Data):
				delete(tensors, name)
			}
		}
		if module, ok := strings.CutSuffix(module, ".original_module"); ok {
			if _, ok := tensors[module+kind]; ok {
				delete(tensors, name)
			}
		}
	}
}

// wrappedModule is the module whose tensors PEFT holds under that name.
func wrappedModule(name string) (module string, ok bool) {
	return strings.CutSuffix(strings.TrimSuffix(name, ".default"), ".modules_to_save")
}

// isHeadModule reports whether a name is that of a module of a head, by those that
// PEFT takes for one.
func isHeadModule(name string) bool {
	return slices.ContainsFunc(headModules, func(m string) bool { return captures(m, name) })
}
