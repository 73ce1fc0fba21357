package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// ErrType is wrapped by the errors of Weight and Float32s for an element type
// that they do not take.
var ErrType = errors.New("element type not usable as a float weight")

// Tensor is a named array. Data holds its elements in row-major order and
// little-endian bytes: the product of Shape times DType.Size() of them. A
// scalar has an empty Shape.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, dim := range t.Shape {
		n *= dim
	}
	return n
}

// Format is the stored form under which the kernels read the tensor; false
// where its type is not one of F32, F16 and BF16.
func (t Tensor) Format() (kernels.Format, bool) {
	switch t.DType {
	case F32:
		return kernels.F32, true
	case F16:
		return kernels.F16, true
	case BF16:
		return kernels.BF16, true
	}
	return 0, false
}

// Weight views the tensor as a frozen matrix without copying: a vector [n] is
// one row of n, [r, c] is r rows, and of more dimensions the first counts rows.
func (t Tensor) Weight() (kernels.Weight, error) {
	format, ok := t.Format()
	if !ok {
		return kernels.Weight{}, fmt.Errorf("tensor %q: %w: %s", t.Name, ErrType, t.DType)
	}
	rows, cols := 1, t.Len()
	if len(t.Shape) > 1 {
		rows = t.Shape[0]
		cols = Tensor{Shape: t.Shape[1:]}.Len()
	}
	return kernels.NewWeight(format, rows, cols, t.Data), nil
}

// Float32s widens F32, F16 and BF16, and rounds F64, into a fresh slice.
func (t Tensor) Float32s() ([]float32, error) {
	if t.DType == F64 {
		values := make([]float32, t.Len())
		for i := range values {
			values[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
		return values, nil
	}
	format, ok := t.Format()
	if !ok {
		return nil, fmt.Errorf("tensor %q: %w: %s", t.Name, ErrType, t.DType)
	}
	values := make([]float32, t.Len())
	kernels.Decode(values, format, t.Data)
	return values, nil
}

// FromFloat32s returns an F32 tensor that views values, whose number must be
// the product of shape.
func FromFloat32s(name string, shape []int, values []float32) Tensor {
	t := Tensor{Name: name, DType: F32, Shape: slices.Clone(shape)}
	if t.Len() != len(values) {
		panic(fmt.Sprintf("safetensors: %q: %d values for shape %v", name, len(values), shape))
	}
	t.Data = kernels.WeightOf(kernels.MatrixOf(1, len(values), values)).Data
	return t
}
