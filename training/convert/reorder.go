package convert

import (
	"slices"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// rows returns the matrix whose row i is row order[i] of t.
func rows(t safetensors.Tensor, order []int) safetensors.Tensor {
	n := t.Shape[1] * t.DType.Size()
	data := make([]byte, 0, len(t.Data))
	for _, from := range order {
		data = append(data, t.Data[from*n:][:n]...)
	}
	t.Data = data
	return t
}

// turned is the transpose.
func turned(t safetensors.Tensor) safetensors.Tensor {
	size, r, c := t.DType.Size(), t.Shape[0], t.Shape[1]
	data := make([]byte, len(t.Data))
	for i := range r {
		for j := range c {
			copy(data[(j*r+i)*size:], t.Data[(i*c+j)*size:][:size])
		}
	}
	t.Shape, t.Data = []int{c, r}, data
	return t
}

// times multiplies by a factor, in float32.
func times(t safetensors.Tensor, f float64) safetensors.Tensor {
	values, err := t.Float32s()
	if err != nil {
		return t
	}
	values = slices.Clone(values)
	for i, v := range values {
		values[i] = float32(float64(v) * f)
	}
	return safetensors.FromFloat32s(t.Name, t.Shape, values)
}
