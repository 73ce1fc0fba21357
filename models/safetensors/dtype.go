package safetensors

import (
	"math"
	"slices"
)

// DType is the element type of a tensor, as the header spells it.
type DType string

// The element types that the reader accepts. The F8 forms can be listed and
// copied, not widened.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E5M2 DType = "F8_E5M2"
	F8E4M3 DType = "F8_E4M3"
	F8E8M0 DType = "F8_E8M0"
	I16    DType = "I16"
	U16    DType = "U16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	I32    DType = "I32"
	U32    DType = "U32"
	F32    DType = "F32"
	C64    DType = "C64"
	F64    DType = "F64"
	I64    DType = "I64"
	U64    DType = "U64"
)

// order is the Python library's order of types (by alignment, safetensors'
// tensor.rs): files are laid out from its end to its beginning.
var order = []DType{
	Bool, U8, I8, F8E5M2, F8E4M3, F8E8M0, I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64,
}

// Size is the bytes of one element; 0 for a type that is not known.
func (d DType) Size() int {
	switch d {
	case Bool, U8, I8, F8E5M2, F8E4M3, F8E8M0:
		return 1
	case I16, U16, F16, BF16:
		return 2
	case I32, U32, F32:
		return 4
	case C64, F64, I64, U64:
		return 8
	}
	return 0
}

func (d DType) rank() int { return slices.Index(order, d) }

// byteSize is the bytes of a tensor of the given shape; false where a
// dimension is negative or the size does not fit an int.
func byteSize(d DType, shape []int) (int, bool) {
	n := d.Size()
	for _, dim := range shape {
		if dim < 0 {
			return 0, false
		}
	}
	if slices.Contains(shape, 0) {
		return 0, true
	}
	for _, dim := range shape {
		if n > math.MaxInt/dim {
			return 0, false
		}
		n *= dim
	}
	return n, true
}
