package models_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestOpenBytes: a model in memory computes what its folder does, to the bit,
// wherever its bytes begin.
func TestOpenBytes(t *testing.T) {
	dir := modeltest.Goldens(t, "llama-gqa")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	config, weights := read("config.json"), read("model.safetensors")
	folder, source, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	want := logits(folder)
	for _, shift := range []int{0, 1, 3} {
		moved := append(make([]byte, shift), weights...)[shift:]
		m, s, err := models.OpenBytes("embedded", config, moved, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(logits(m), want) {
			t.Errorf("moved by %d bytes it computes something else", shift)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct{ config, weights []byte }{
		"cut":              {config, weights[:len(weights)/2]},
		"no safetensors":   {config, []byte("no")},
		"no configuration": {nil, weights},
	} {
		if _, _, err := models.OpenBytes("embedded", c.config, c.weights, models.Options{}); !errors.Is(err, models.ErrSource) || !strings.Contains(err.Error(), "embedded") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// logits of a few tokens.
func logits(m models.Model) []float32 {
	pool := kernels.NewPool(1)
	defer pool.Close()
	p := models.NewPass(pool)
	var b models.Batch
	b.AddFrom([]int32{1, 5, 9, 2}, 0, []int32{0}, nil, 0)
	return slices.Clone(m.Head(p, &b, 0, m.Forward(p, &b, nil)).Data.Data)
}

// TestOpenGGUFBytes: a GGUF file in memory is the model that it is on disk, to the
// bit, in every format and wherever its bytes begin; and its bytes stay as they
// are, though the model may be written to.
func TestOpenGGUFBytes(t *testing.T) {
	for name, file := range ggufFiles(t) {
		t.Run(name, func(t *testing.T) {
			contents, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := logits(opened(t, file, models.Options{}))
			for shift := range 64 {
				moved := append(make([]byte, shift), contents...)[shift:]
				for _, private := range []bool{false, true} {
					m, s, err := models.OpenGGUFBytes("embedded", moved, models.Options{Private: private})
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(logits(m), want) {
						t.Errorf("moved by %d bytes, private %v, it computes something else", shift, private)
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
				if !bytes.Equal(moved, contents) {
					t.Fatal("the bytes have been written to")
				}
			}
		})
	}
}

// ggufFiles are files of the golden Llama as it was converted and, with rows that
// fill blocks, in the formats that have an encoder.
func ggufFiles(t *testing.T) map[string]string {
	files := map[string]string{"converted": modeltest.Goldens(t, "converted", "llama", "model.gguf")}
	for _, format := range []kernels.Format{kernels.F16, kernels.BF16, kernels.Q8_0, kernels.Q4_0, kernels.Q4_1, kernels.Q5_0, kernels.Q5_1} {
		w := gguf.NewWriter("llama")
		for key, v := range map[string]any{
			"llama.embedding_length": 64, "llama.feed_forward_length": 96, "llama.block_count": 2, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
			"llama.context_length": 64, "llama.rope.freq_base": float32(10000), "llama.attention.layer_norm_rms_epsilon": float32(1e-6),
		} {
			w.Set(key, v)
		}
		add := func(name string, format kernels.Format, cols, rows int) {
			stored := make([]byte, rows*format.RowBytes(cols))
			if err := kernels.Encode(stored, format, modeltest.Float32s(modeltest.Numbers(name, rows*cols, 0.3))); err != nil {
				t.Fatal(err)
			}
			dims := []int{cols, rows}
			if rows == 1 {
				dims = dims[:1]
			}
			w.Add(name, gguf.TypeOf(format), dims, stored)
		}
		add("token_embd.weight", format, 64, 32)
		add("output_norm.weight", kernels.F32, 64, 1)
		for block := range 2 {
			in := func(name string) string { return fmt.Sprintf("blk.%d.%s.weight", block, name) }
			add(in("attn_norm"), kernels.F32, 64, 1)
			add(in("ffn_norm"), kernels.F32, 64, 1)
			add(in("attn_q"), format, 64, 64)
			add(in("attn_k"), format, 64, 32)
			add(in("attn_v"), format, 64, 32)
			add(in("attn_output"), format, 64, 64)
			add(in("ffn_gate"), format, 64, 96)
			add(in("ffn_up"), format, 64, 96)
			add(in("ffn_down"), format, 96, 64)
		}
		files[fmt.Sprint(format)] = filepath.Join(t.TempDir(), "model.gguf")
		if err := w.WriteFile(files[fmt.Sprint(format)]); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestBadGGUFBytes: what is refused of a file is refused of its bytes, by name.
func TestBadGGUFBytes(t *testing.T) {
	contents, err := os.ReadFile(modeltest.Goldens(t, "converted", "llama", "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	strange := bytes.Replace(contents, []byte("llama.context_length"), []byte("llama.context_marvel"), 1)
	for name, b := range map[string][]byte{"cut": contents[:len(contents)/2], "no GGUF": []byte("no"), "empty": nil, "strange": strange} {
		path := filepath.Join(t.TempDir(), "bad.gguf")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, want := models.Open(path, models.Options{})
		_, _, got := models.OpenGGUFBytes(path, b, models.Options{})
		if !errors.Is(got, models.ErrSource) || want == nil || got.Error() != want.Error() {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
