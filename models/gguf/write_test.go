package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
)

func sample() *Writer {
	w := NewWriter("llama")
	w.Set("llama.block_count", 2)
	w.Set("llama.rope.freq_base", float32(1e4))
	w.Set("tokenizer.ggml.tokens", []string{"a", "b"})
	w.Set("tokenizer.ggml.token_type", []int{1, -3})
	w.Set("tokenizer.ggml.scores", []float32{0, -1})
	w.Set("flags", []bool{true, false})
	w.AddWeight("output.weight", kernels.WeightOf(kernels.MatrixOf(3, 2, []float32{1, 2, 3, 4, 5, 6})))
	w.Add("q", TypeQ8_0, []int{32, 1}, make([]byte, 34))
	w.Add("empty", TypeF16, []int{4, 0}, nil)
	w.Add("norm", TypeF32, []int{1}, []byte{0, 0, 128, 63})
	return w
}

func encoded(t testing.TB, w *Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := sample().WriteFile(path); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, ok := f.Int("llama.block_count"); !ok || n != 2 {
		t.Errorf("block_count = %d, %v", n, ok)
	}
	if v, ok := f.Ints("tokenizer.ggml.token_type"); !ok || !slices.Equal(v, []int{1, -3}) {
		t.Errorf("token_type = %v, %v", v, ok)
	}
	if v, ok := f.Bools("flags"); !ok || !slices.Equal(v, []bool{true, false}) {
		t.Errorf("flags = %v, %v", v, ok)
	}
	w, err := f.Weight("output.weight")
	if err != nil || w.Rows != 3 || w.Cols != 2 || !slices.Equal(w.Matrix().Row(2), []float32{5, 6}) {
		t.Errorf("output.weight: %+v, %v", w, err)
	}
	var names []string
	for _, tensor := range f.Tensors() {
		names = append(names, tensor.Name)
		if tensor.Offset%32 != 0 {
			t.Errorf("%s lies at %d", tensor.Name, tensor.Offset)
		}
	}
	if want := []string{"output.weight", "q", "empty", "norm"}; !slices.Equal(names, want) {
		t.Errorf("tensors %q, want %q", names, want)
	}
	written, _ := os.ReadFile(path)
	if !bytes.Equal(written, encoded(t, sample())) {
		t.Error("the same model gave other bytes")
	}
}

// TestRewriteOfReference copies the reference's file through the Writer.
func TestRewriteOfReference(t *testing.T) {
	f := openGolden(t)
	w := NewWriter("golden")
	for _, tensor := range f.Tensors() {
		w.Add(tensor.Name, tensor.Type, tensor.Dims, tensor.Data)
	}
	again, err := Parse("again", encoded(t, w))
	if err != nil {
		t.Fatal(err)
	}
	for i, tensor := range again.Tensors() {
		if want := f.Tensors()[i]; !bytes.Equal(tensor.Data, want.Data) || tensor.Offset != want.Offset {
			t.Errorf("%s changed", tensor.Name)
		}
	}
}

func TestWriterFaults(t *testing.T) {
	for name, fault := range map[string]func(w *Writer){
		"occurs twice":        func(w *Writer) { w.Set("k", 1); w.Set("k", 2) },
		"uint32":              func(w *Writer) { w.Set("k", -1) },
		"int32":               func(w *Writer) { w.Set("k", []int{1 << 40}) },
		"cannot be stored":    func(w *Writer) { w.Set("k", map[string]int{}) },
		"do not fill":         func(w *Writer) { w.Add("t", TypeQ4_0, []int{33}, nil) },
		"dimensions [-1]":     func(w *Writer) { w.Add("t", TypeF32, []int{-1}, nil) },
		"type 99":             func(w *Writer) { w.Add("t", 99, []int{1}, nil) },
		"3 bytes for F32 [1]": func(w *Writer) { w.Add("t", TypeF32, []int{1}, make([]byte, 3)) },
	} {
		w := NewWriter("x")
		fault(w)
		if err := w.Write(io.Discard); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSplit(t *testing.T) {
	dir := t.TempDir()
	part := func(no, count int) string {
		return filepath.Join(dir, fmt.Sprintf("model-%05d-of-%05d.gguf", no+1, count))
	}
	write := func(no, says int) {
		w := NewWriter("")
		if no == 0 {
			w.Set("general.architecture", "llama")
			w.Set(keySplitTensors, int32(3))
		}
		w.Set(keySplitNo, uint16(says))
		w.Set(keySplitCount, uint16(3))
		w.Add(fmt.Sprintf("blk.%d", no), TypeF32, []int{1}, []byte{byte(no), 0, 0, 0})
		if err := w.WriteFile(part(no, 3)); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 0)
	write(2, 2)
	if _, err := Open(part(0, 3)); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "model-00002-of-00003.gguf") {
		t.Errorf("a missing part gave %v", err)
	}
	write(1, 0)
	if _, err := Open(part(0, 3)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a part out of order gave %v", err)
	}
	write(1, 1)
	for no := range 3 {
		f, err := Open(part(no, 3))
		if err != nil {
			t.Fatal(err)
		}
		if arch, _ := f.String("general.architecture"); arch != "llama" || len(f.Tensors()) != 3 {
			t.Errorf("opened by part %d: architecture %q, %d tensors", no, arch, len(f.Tensors()))
		}
		for i := range 3 {
			if tensor, err := f.Tensor(fmt.Sprintf("blk.%d", i)); err != nil || tensor.Data[0] != byte(i) {
				t.Errorf("blk.%d: %v", i, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	lone := filepath.Join(dir, "renamed.gguf")
	if err := os.Rename(part(2, 3), lone); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(lone); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "of-00003.gguf") {
		t.Errorf("a renamed part gave %v", err)
	}
}
