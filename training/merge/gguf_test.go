package merge

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// writeBase writes a golden Llama as llama.cpp's converter would: rows of q and
// k interleaved, matrices in the given form where their rows fill its blocks.
func writeBase(t *testing.T, golden string, f kernels.Format) string {
	t.Helper()
	m := modeltest.Open(t, golden)
	c := m.Config()
	w := gguf.NewWriter("llama")
	w.Set("llama.embedding_length", c.Hidden)
	w.Set("llama.feed_forward_length", c.Intermediate)
	w.Set("llama.block_count", c.Layers)
	w.Set("llama.attention.head_count", c.Heads)
	w.Set("llama.attention.head_count_kv", c.KVHeads)
	w.Set("llama.attention.key_length", c.HeadDim)
	w.Set("llama.context_length", c.Context)
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-6))
	w.Set("llama.rope.freq_base", float32(10000))
	w.Set("tokenizer.ggml.tokens", []string{"a", "b", "c"})
	for _, s := range m.Sites() {
		name := c.Architecture.GGUFName(s.Name + ".weight")
		switch {
		case s.Kind == models.NormSite:
			w.AddWeight(name, kernels.WeightOf(kernels.MatrixOf(1, len(s.Norm.Weight), s.Norm.Weight)))
		case s.Kind == models.EmbeddingSite, s.Kind == models.LinearSite && (!s.Head || !c.Tied):
			from := weightOf(s).Matrix()
			format := f
			if from.Cols%f.BlockLen() != 0 {
				format = kernels.F32
			}
			order := c.GGUFRows(s.Name + ".weight")
			data := make([]byte, from.Rows*format.RowBytes(from.Cols))
			for i := range from.Rows {
				row := i
				if order != nil {
					row = order[i]
				}
				if err := kernels.Encode(data[i*format.RowBytes(from.Cols):][:format.RowBytes(from.Cols)], format, from.Row(row)); err != nil {
					t.Fatal(err)
				}
			}
			w.AddWeight(name, kernels.NewWeight(format, from.Rows, from.Cols, data))
		}
	}
	path := filepath.Join(t.TempDir(), "base.gguf")
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGGUF merges into a GGUF of floats, to a GGUF and to a folder, and holds
// both against base and adapter.
func TestGGUF(t *testing.T) {
	golden := modeltest.Goldens(t, "llama-gqa", "adapters")
	base := writeBase(t, "llama-gqa", kernels.F32)
	for _, adapter := range []string{"lora-all-linear", "dora-all-linear", "ia3", "lora-save-norm", "lora-tokens", "beft"} {
		for _, out := range []string{"merged.gguf", "merged"} {
			o := Options{Base: base, Adapter: filepath.Join(golden, adapter), Output: filepath.Join(t.TempDir(), out)}
			r, err := Merge(o)
			if err != nil {
				t.Fatalf("%s: %v", adapter, err)
			}
			if r.Difference > 1e-4 {
				t.Errorf("%s to %s: off by %v", adapter, out, r.Difference)
			}
			again := o
			again.Base, again.Output = o.Output, filepath.Join(t.TempDir(), out)
			if _, err := Merge(again); !errors.Is(err, ErrAgain) {
				t.Errorf("%s to %s merged twice: %v", adapter, out, err)
			}
		}
	}
}

// TestGGUFKeepsTheRest: metadata and unchanged tensors keep their bytes.
func TestGGUFKeepsTheRest(t *testing.T) {
	base := writeBase(t, "llama", kernels.Q8_0)
	out := filepath.Join(t.TempDir(), "merged.gguf")
	o := Options{Base: base, Adapter: modeltest.Goldens(t, "llama", "adapters", "lora"), Output: out}
	_, err := Merge(o)
	if !errors.Is(err, ErrQuantised) || !strings.Contains(err.Error(), "Q8_0") || !strings.Contains(err.Error(), "--dtype") {
		t.Fatal(err)
	}
	nothing(t, filepath.Dir(out))
	o.DType = "f16"
	r, err := Merge(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "Q8_0") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if r.Difference > 0.02 || r.Drift > 0.01 {
		t.Errorf("off by %v, drift %v", r.Difference, r.Drift)
	}
	before, err := gguf.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	after, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if tokens, _ := after.Strings("tokenizer.ggml.tokens"); len(tokens) != 3 {
		t.Error("the tokenizer is gone")
	}
	same, size := 0, 0
	for _, a := range before.Tensors() {
		b, err := after.Tensor(a.Name)
		size += len(b.Data)
		switch {
		case err != nil:
			t.Error(err)
		case a.Type == b.Type && bytes.Equal(a.Data, b.Data):
			same++
		case b.Type != gguf.TypeF16:
			t.Errorf("%s is %s", a.Name, b.Type)
		}
	}
	if want := len(before.Tensors()) - len(r.Changed); same != want {
		t.Errorf("%d tensors kept their bytes, want %d", same, want)
	}
	if r.Bytes != size {
		t.Errorf("the report says %d bytes, the file holds %d", r.Bytes, size)
	}
}
