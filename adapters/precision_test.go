package adapters_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// What the precision cannot hold is refused by the tensor's name, and a file that has
// no more than is asked for stays what it is.
func TestPrecisionLimits(t *testing.T) {
	const base = "../testdata/goldens/llama"
	m, source, err := models.Open(base, models.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, source.Close()) }()
	f := adaptertest.Open(t, base+"/adapters/lora")
	tensors := f.All()
	var name string
	for i, tensor := range tensors {
		values, err := tensor.Float32s()
		require.NoError(t, err)
		values[len(values)/2] = 1e5
		name, tensors[i] = tensor.Name, safetensors.FromFloat32s(tensor.Name, tensor.Shape, values)
		break
	}
	loud := adapters.NewFolder("loud", f.Config, tensors)
	_, err = adapters.LoadIn(m, loud, adapters.F16)
	require.ErrorIs(t, err, adapters.ErrTensor)
	require.ErrorContains(t, err, "loud: ")
	require.ErrorContains(t, err, name+" cannot be held in f16")
	wide, err := adapters.LoadIn(m, loud, adapters.BF16)
	require.NoError(t, err)

	half := adapters.NewFolder("half", f.Config, tensorsIn(t, f.All(), kernels.F16, safetensors.F16))
	a, err := adapters.LoadIn(m, half, adapters.BF16)
	require.NoError(t, err)
	require.Equal(t, adapters.AsStored, a.Precision())
	require.Equal(t, a.Digest(), a.Identity())
	require.NotEqual(t, wide.Digest(), wide.Identity())
}

// tensorsIn are the tensors in another format.
func tensorsIn(t *testing.T, tensors []safetensors.Tensor, f kernels.Format, dtype safetensors.DType) []safetensors.Tensor {
	t.Helper()
	for i, tensor := range tensors {
		values, err := tensor.Float32s()
		require.NoError(t, err)
		tensor.DType, tensor.Data = dtype, make([]byte, f.RowBytes(len(values)))
		require.NoError(t, kernels.Encode(tensor.Data, f, values))
		tensors[i] = tensor
	}
	return tensors
}

func TestParsePrecision(t *testing.T) {
	for _, name := range adapters.Precisions() {
		p, err := adapters.ParsePrecision(name)
		require.NoError(t, err)
		require.Equal(t, name, p.String())
	}
	_, err := adapters.ParsePrecision("f32")
	require.EqualError(t, err, `"f32" is none of stored, bf16, f16, q8_0`)
}
