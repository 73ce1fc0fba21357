package adapters

import (
	"bytes"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// dropCopies takes away what PEFT writes of a module to save beside its own
// tensors where it saves embeddings or biases too: "<m>.modules_to_save.weight",
// which is "<m>.weight" once more, and "<m>.original_module.weight", the base's,
// in whose place the adapter's stands. They are no part of the content. Where
// the first differs, or stands alone, it stays, and is refused by name.
func dropCopies(tensors map[string]safetensors.Tensor) {
	for name, t := range tensors {
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			continue
		}
		if module, ok := strings.CutSuffix(name[:dot], ".modules_to_save"); ok {
			own, ok := tensors[module+name[dot:]]
			if ok && own.DType == t.DType && slices.Equal(own.Shape, t.Shape) && bytes.Equal(own.Data, t.Data) {
				delete(tensors, name)
			}
		}
		if module, ok := strings.CutSuffix(name[:dot], ".original_module"); ok {
			if _, ok := tensors[module+name[dot:]]; ok {
				delete(tensors, name)
			}
		}
	}
}
