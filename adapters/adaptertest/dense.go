package adaptertest

import (
	"testing"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Dense is a file's tensors in float64, by name.
type Dense map[string]*Tensor

// Tensor is one of them.
type Tensor struct {
	Shape  []int
	Values []float64
}

// At is element (i, j) of a matrix.
func (t *Tensor) At(i, j int) *float64 { return &t.Values[i*t.Shape[1]+j] }

// Transposed returns a copy of a matrix with rows and columns exchanged.
func (t *Tensor) Transposed() *Tensor {
	out := &Tensor{[]int{t.Shape[1], t.Shape[0]}, make([]float64, len(t.Values))}
	for i := range t.Shape[0] {
		for j := range t.Shape[1] {
			*out.At(j, i) = *t.At(i, j)
		}
	}
	return out
}

func readDense(t *testing.T, path string) Dense {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	d := Dense{}
	for tensor := range f.All() {
		values, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		wide := make([]float64, len(values))
		for i, v := range values {
			wide[i] = float64(v)
		}
		d[tensor.Name] = &Tensor{tensor.Shape, wide}
	}
	return d
}

func (d Dense) write(t *testing.T, path string) {
	t.Helper()
	var tensors []safetensors.Tensor
	for name, tensor := range d {
		values := make([]float32, len(tensor.Values))
		for i, v := range tensor.Values {
			values[i] = float32(v)
		}
		tensors = append(tensors, safetensors.FromFloat32s(name, tensor.Shape, values))
	}
	if err := safetensors.WriteFile(path, tensors, safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
}
