package adaptertest

import (
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// rounded demands that an adapter whose factors are held in less than its file has
// computes what one does whose file was rounded beforehand, takes less memory, and
// says so.
func (s Suite) rounded(t *testing.T, m models.Model, a *adapters.Adapter) {
	f := Open(t, s.Dir)
	pool := kernels.NewPool(1)
	defer pool.Close()
	wide := slices.ContainsFunc(f.All(), func(t safetensors.Tensor) bool { return t.DType == safetensors.F32 })
	blocks := false // a factor's rows are of whole blocks
	for _, in := range []adapters.Precision{adapters.BF16, adapters.F16, adapters.Q8_0} {
		own, err := adapters.LoadIn(m, f, in)
		if err != nil {
			t.Fatal(err)
		}
		if own.Digest() != a.Digest() {
			t.Errorf("%s: the digest %s became %s", in, a.Digest(), own.Digest())
		}
		if own.Precision() == adapters.AsStored { // of a family without factors, or of a file that has no more
			if s.Rounds && (in == adapters.Q8_0 && blocks || in != adapters.Q8_0 && wide) {
				t.Errorf("%s: no factor was rounded", in)
			}
			if own.Bytes() != a.Bytes() || own.Identity() != a.Identity() {
				t.Errorf("%s: nothing was rounded, and %d bytes became %d, %s %s", in, a.Bytes(), own.Bytes(), a.Identity(), own.Identity())
			}
			continue
		}
		for _, p := range own.Params() {
			blocks = blocks || in == adapters.BF16 && p.Weight.Format == kernels.BF16 && p.Weight.Cols%kernels.Q8_0.BlockLen() == 0
		}
		if want := a.Digest() + "." + in.String(); own.Identity() != want || own.Precision() != in {
			t.Errorf("%s: the identity is %s, want %s", in, own.Identity(), want)
		}
		if own.Bytes() >= a.Bytes() {
			t.Errorf("%s: %d bytes of %d", in, own.Bytes(), a.Bytes())
		}
		if got := adapters.FolderBytes(m, s.Dir, in); got < own.Bytes()-own.Bytes()/4 || got > adapters.FolderBytes(m, s.Dir, adapters.AsStored) {
			t.Errorf("%s: %d bytes are foretold, and it takes %d", in, got, own.Bytes())
		}
		if in == adapters.Q8_0 && kernels.Name() == "amx" {
			continue // its products of 8 bits sum in another order than those of float32
		}
		tensors, some := roundedTensors(t, own, f.All())
		if !some {
			continue // what was rounded is in no file: VeRA's matrices of a seed
		}
		before := adapters.NewFolder(s.Dir, f.Config, tensors)
		want, err := adapters.Load(m, before)
		if err != nil {
			t.Fatal(err)
		}
		for _, tokens := range prompts(m, a) {
			got, want := Logits(m, pool, Row{tokens, own})[0], Logits(m, pool, Row{tokens, want})[0]
			if !slices.Equal(got.Data, want.Data) {
				t.Errorf("%s: the logits differ by %.3g from those of a file that was rounded", in, difference(got, want))
			}
		}
	}
}

// roundedTensors are a file's with those rounded that the adapter holds in less,
// value by value and block by block; some: there are such.
func roundedTensors(t *testing.T, a *adapters.Adapter, file []safetensors.Tensor) (_ []safetensors.Tensor, some bool) {
	t.Helper()
	held := map[string]*adapters.Param{}
	for _, p := range a.Params() {
		held[p.Name] = p
	}
	for i, tensor := range file {
		p := held[tensor.Name]
		stored, _ := tensor.Format()
		if p == nil || p.Weight.Format == stored {
			continue
		}
		values, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		file[i], some = roundedTensor(t, tensor, values, p), true
	}
	return file, some
}

func roundedTensor(t *testing.T, tensor safetensors.Tensor, values []float32, p *adapters.Param) safetensors.Tensor {
	t.Helper()
	f, n := p.Weight.Format, p.Weight.Format.BlockLen()
	rows, cols := tensor.Shape[0], tensor.Shape[1]
	at := func(i int) int { return i } // of the i-th value as it is held
	if p.Transposed {
		at = func(i int) int { return i%rows*cols + i/rows }
	}
	if dtype, ok := map[kernels.Format]safetensors.DType{kernels.BF16: safetensors.BF16, kernels.F16: safetensors.F16}[f]; ok {
		tensor.DType, tensor.Data = dtype, make([]byte, f.RowBytes(len(values)))
		if err := kernels.Encode(tensor.Data, f, values); err != nil {
			t.Fatal(err)
		}
		return tensor
	}
	block, code := make([]float32, n), make([]byte, f.BlockBytes())
	for i := 0; i < len(values); i += n {
		for j := range block {
			block[j] = values[at(i+j)]
		}
		if err := kernels.Encode(code, f, block); err != nil {
			t.Fatal(err)
		}
		kernels.Decode(block, f, code)
		for j, v := range block {
			values[at(i+j)] = v
		}
	}
	return safetensors.FromFloat32s(tensor.Name, tensor.Shape, values)
}
