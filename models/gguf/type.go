package gguf

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
)

// Type is a tensor's stored form, numbered as ggml.h's enum ggml_type.
type Type uint32

// The types that the kernels read.
const (
	TypeF32  Type = 0
	TypeF16  Type = 1
	TypeQ4_0 Type = 2
	TypeQ4_1 Type = 3
	TypeQ5_0 Type = 6
	TypeQ5_1 Type = 7
	TypeQ8_0 Type = 8
	TypeQ4_K Type = 12
	TypeQ5_K Type = 13
	TypeQ6_K Type = 14
	TypeBF16 Type = 30
)

// types holds, by Type, its name, the values in a block and its bytes
// (ggml.c's type_traits, and GGML_QUANT_SIZES of PyPI gguf 0.19.0).
var types = map[Type]struct {
	name          string
	values, bytes int
}{
	0: {"F32", 1, 4}, 1: {"F16", 1, 2}, 2: {"Q4_0", 32, 18}, 3: {"Q4_1", 32, 20},
	6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, 8: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 40},
	10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, 12: {"Q4_K", 256, 144},
	13: {"Q5_K", 256, 176}, 14: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98},
	19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 24: {"I8", 1, 1}, 25: {"I16", 1, 2},
	26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8}, 29: {"IQ1_M", 256, 56},
	30: {"BF16", 1, 2}, 34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17},
	40: {"NVFP4", 64, 36}, 41: {"Q1_0", 128, 18},
}

var formats = map[Type]kernels.Format{
	TypeF32: kernels.F32, TypeF16: kernels.F16, TypeBF16: kernels.BF16,
	TypeQ8_0: kernels.Q8_0, TypeQ4_0: kernels.Q4_0, TypeQ4_1: kernels.Q4_1,
	TypeQ5_0: kernels.Q5_0, TypeQ5_1: kernels.Q5_1,
	TypeQ4_K: kernels.Q4_K, TypeQ5_K: kernels.Q5_K, TypeQ6_K: kernels.Q6_K,
}

// TypeOf is the Type under which a kernel's format is stored.
func TypeOf(f kernels.Format) Type {
	for t, format := range formats {
		if format == f {
			return t
		}
	}
	panic(fmt.Sprintf("gguf: format %s has no type", f))
}

// Format is the kernels' name of the type; false where they lack it.
func (t Type) Format() (kernels.Format, bool) {
	f, ok := formats[t]
	return f, ok
}

func (t Type) String() string {
	if known, ok := types[t]; ok {
		return known.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}
