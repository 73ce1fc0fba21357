package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// llamaShape is the shape of a base with random weights.
type llamaShape struct {
	hidden, layers, heads, kvHeads, headDim, feedForward, vocabulary int
	tied                                                             bool
}

// syntheticShapes are those of models that people use, by their size: SmolLM2,
// Qwen2.5, the 1.07 billion parameters that docs/performance.md has, Llama 3.2 and
// Llama 2.
var syntheticShapes = map[string]llamaShape{
	"135m": {576, 30, 9, 3, 64, 1536, 49152, true},
	"0.5b": {896, 24, 14, 2, 64, 4864, 151936, true},
	"1b":   {2048, 16, 32, 8, 64, 8192, 49152, true},
	"3b":   {3072, 28, 24, 8, 128, 8192, 128256, true},
	"7b":   {4096, 32, 32, 32, 128, 11008, 32000, false},
}

// syntheticFallback is what a format becomes whose blocks do not divide the rows,
// as in llama.cpp's quantize.
var syntheticFallback = map[kernels.Format]kernels.Format{kernels.Q4_K: kernels.Q5_0, kernels.Q5_K: kernels.Q5_1, kernels.Q6_K: kernels.Q8_0}

// parseSynthetic reads SIZE:FORMAT.
func parseSynthetic(text string) (llamaShape, kernels.Format, error) {
	size, name, _ := strings.Cut(strings.ToLower(text), ":")
	shape, ok := syntheticShapes[size]
	var formats []string
	for _, f := range kernels.Formats() {
		formats = append(formats, strings.ToLower(f.String()))
	}
	at := slices.Index(formats, name)
	if !ok || at < 0 {
		return shape, 0, fmt.Errorf("%q is not SIZE:FORMAT, as in 1b:q4_0; sizes are %s, formats %s",
			text, strings.Join(slices.Sorted(maps.Keys(syntheticShapes)), ", "), strings.Join(formats, ", "))
	}
	return shape, kernels.Formats()[at], nil
}

// synthesise makes the base that --synthetic asks for: in the folder of --keep,
// where it stays, or else in one that remove takes away.
func (b *benchCommand) synthesise() (path string, remove func() error, err error) {
	shape, format, err := parseSynthetic(b.Synthetic)
	if err != nil {
		return "", nil, err
	}
	dir, remove, err := b.folder()
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "synthetic-"+strings.ReplaceAll(strings.ToLower(b.Synthetic), ":", "-")+".gguf")
	if err := shape.write(path, format, uint64(b.Seed)); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return path, remove, nil
}

// write writes a GGUF of the shape with random weights, the same for the same
// seed, of a size that keeps activations near 1. It is at the path once it is whole.
func (s llamaShape) write(path string, f kernels.Format, seed uint64) (err error) {
	w := gguf.NewWriter("llama")
	w.Set("general.name", "synthetic")
	for key, n := range map[string]int{
		"block_count": s.layers, "context_length": 32768, "embedding_length": s.hidden, "feed_forward_length": s.feedForward,
		"attention.head_count": s.heads, "attention.head_count_kv": s.kvHeads, "attention.key_length": s.headDim, "attention.value_length": s.headDim,
		"rope.dimension_count": s.headDim, "vocab_size": s.vocabulary,
	} {
		w.Set("llama."+key, n)
	}
	w.Set("llama.rope.freq_base", float32(10000))
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	s.tokenizer(w)
	random := rand.New(rand.NewPCG(seed, 15))
	matrix := func(name string, out, in int) {
		f := f
		if in%f.BlockLen() != 0 {
			f = syntheticFallback[f]
		}
		w.AddFunc(name+".weight", gguf.TypeOf(f), []int{in, out}, func(to io.Writer) error { return writeRandom(to, random, f, out, in) })
	}
	norm := func(name string) {
		ones := slices.Repeat([]float32{1}, s.hidden)
		w.Add(name+".weight", gguf.TypeOf(kernels.F32), []int{s.hidden}, kernels.WeightOf(kernels.MatrixOf(1, s.hidden, ones)).Data)
	}
	matrix("token_embd", s.vocabulary, s.hidden)
	for i := range s.layers {
		at := fmt.Sprintf("blk.%d.", i)
		norm(at + "attn_norm")
		matrix(at+"attn_q", s.heads*s.headDim, s.hidden)
		matrix(at+"attn_k", s.kvHeads*s.headDim, s.hidden)
		matrix(at+"attn_v", s.kvHeads*s.headDim, s.hidden)
		matrix(at+"attn_output", s.hidden, s.heads*s.headDim)
		norm(at + "ffn_norm")
		matrix(at+"ffn_gate", s.feedForward, s.hidden)
		matrix(at+"ffn_up", s.feedForward, s.hidden)
		matrix(at+"ffn_down", s.hidden, s.feedForward)
	}
	norm("output_norm")
	if !s.tied {
		matrix("output", s.vocabulary, s.hidden)
	}
	part := path + ".part"
	file, err := os.Create(part)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(file, 1<<20)
	if err := errors.Join(w.Write(buffered), buffered.Flush(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, path)
}

// tokenizer adds one of bytes, and of pieces that no text has.
func (s llamaShape) tokenizer(w *gguf.Writer) {
	pieces, types, scores := []string{"<unk>", "<s>", "</s>"}, []int{2, 3, 3}, make([]float32, s.vocabulary)
	for i := range 256 {
		pieces, types = append(pieces, fmt.Sprintf("<0x%02X>", i)), append(types, 6)
	}
	for i := len(pieces); i < s.vocabulary; i++ {
		pieces, types = append(pieces, fmt.Sprintf("⟨%d⟩", i)), append(types, 1)
	}
	w.Set("tokenizer.ggml.model", "llama")
	w.Set("tokenizer.ggml.tokens", pieces)
	w.Set("tokenizer.ggml.scores", scores)
	w.Set("tokenizer.ggml.token_type", types)
	w.Set("tokenizer.ggml.bos_token_id", 1)
	w.Set("tokenizer.ggml.eos_token_id", 2)
}

// writeRandom writes rows of random weights in a format: blocks with random codes
// and a scale that gives them the variance 1/cols.
func writeRandom(to io.Writer, random *rand.Rand, f kernels.Format, rows, cols int) error {
	row := make([]byte, (f.RowBytes(cols)+7)&^7)
	for range rows {
		randomRow(row, random, f, cols)
		if _, err := to.Write(row[:f.RowBytes(cols)]); err != nil {
			return err
		}
	}
	return nil
}
