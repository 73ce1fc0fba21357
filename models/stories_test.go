package models_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// TestStories260K converts karpathy's stories260K (llama2.c's export.py,
// version 0) to GGUF and tells its greedy story word for word.
func TestStories260K(t *testing.T) {
	dir := modeltest.Shared(t, "models", "stories260K")
	path := filepath.Join(t.TempDir(), "stories.gguf")
	if err := convertStories(read(t, dir, "stories260K.bin"), read(t, dir, "tok512.bin")).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	want := story(t, string(read(t, dir, "stories260K.md")))
	for _, private := range []bool{false, true} {
		m, s, err := models.Open(path, models.Options{Private: private})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		words, err := tokenizer.FromGGUF(s.GGUF)
		if err != nil {
			t.Fatal(err)
		}
		written := t.TempDir()
		if err := tokenizer.WriteGGUF(written, s.GGUF); err != nil {
			t.Fatal(err)
		}
		again, err := tokenizer.Load(written)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{want, " two  spaces", "tabs\tand\nlines", "größer <s> 你", ""} {
			a, errA := words.Encode(text, true)
			b, errB := again.Encode(text, true)
			if errA != nil || errB != nil || !slices.Equal(a, b) || words.Decode(a, false) != again.Decode(b, false) {
				t.Errorf("%q: written as files, the tokens are %v, not %v", text, b, a)
			}
		}
		tokens := greedy(m, modeltest.Pool(t, 1), m.Config().BOS, 256)
		if got := strings.TrimSpace(words.Decode(tokens, true)); got != want {
			t.Errorf("private %v: the story is\n%s\nwant\n%s", private, got, want)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// story is the text after the first command of the model's page.
func story(t *testing.T, page string) string {
	_, after, ok := strings.Cut(page, "-t 0.0\n")
	text, _, ended := strings.Cut(after, "\n```")
	if !ok || !ended {
		t.Fatal("no story on the model's page")
	}
	return text
}

// greedy continues BOS by n tokens.
func greedy(m models.Model, pool *kernels.Pool, bos int32, n int) []int32 {
	p := models.NewPass(pool)
	var blocks []int32
	for i := range n/kernels.BlockLen + 1 {
		blocks = append(blocks, int32(i))
	}
	cache := models.NewCache(m.Config(), len(blocks))
	tokens := []int32{bos}
	var b models.Batch
	for i := range n {
		b.Reset()
		b.Add(tokens[i:], i, blocks, nil)
		h := m.Forward(p, &b, cache)
		logits := m.Head(p, &b, 0, h)
		tokens = append(tokens, largest(logits.Data.Row(0)))
		p.Free(h, logits)
	}
	return tokens[1:]
}

// convertStories writes llama2.c's weights and vocabulary as GGUF: both
// interleave the rotary halves of a head.
func convertStories(weights, vocabulary []byte) *gguf.Writer {
	var header [7]int32
	r := bytes.NewReader(weights)
	must(binary.Read(r, binary.LittleEndian, &header))
	dim, hidden, layers, heads, kvHeads, vocab, context := int(header[0]), int(header[1]), int(header[2]), int(header[3]), int(header[4]), int(header[5]), int(header[6])
	w := gguf.NewWriter("llama")
	w.Set("llama.embedding_length", dim)
	w.Set("llama.feed_forward_length", hidden)
	w.Set("llama.block_count", layers)
	w.Set("llama.attention.head_count", heads)
	w.Set("llama.attention.head_count_kv", kvHeads)
	w.Set("llama.context_length", context)
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	next := func(rows, cols int) kernels.Weight {
		m := kernels.NewMatrix(rows, cols)
		must(binary.Read(r, binary.LittleEndian, m.Data))
		return kernels.WeightOf(m)
	}
	each := func(name string, rows, cols int) {
		for i := range layers {
			if rows == 0 {
				w.Add(fmt.Sprintf("blk.%d.%s.weight", i, name), gguf.TypeF32, []int{cols}, next(1, cols).Data)
			} else {
				w.AddWeight(fmt.Sprintf("blk.%d.%s.weight", i, name), next(rows, cols))
			}
		}
	}
	kv := dim / heads * kvHeads
	w.AddWeight("token_embd.weight", next(vocab, dim))
	each("attn_norm", 0, dim)
	each("attn_q", dim, dim)
	each("attn_k", kv, dim)
	each("attn_v", kv, dim)
	each("attn_output", dim, dim)
	each("ffn_norm", 0, dim)
	each("ffn_gate", hidden, dim)
	each("ffn_down", dim, hidden)
	each("ffn_up", hidden, dim)
	w.Add("output_norm.weight", gguf.TypeF32, []int{dim}, next(1, dim).Data)
	setVocabulary(w, vocabulary, vocab)
	return w
}

func setVocabulary(w *gguf.Writer, vocabulary []byte, n int) {
	r := bytes.NewReader(vocabulary[4:])
	tokens, scores, types := make([]string, n), make([]float32, n), make([]int, n)
	for i := range n {
		var entry struct{ Score, Length uint32 }
		must(binary.Read(r, binary.LittleEndian, &entry))
		piece := make([]byte, entry.Length)
		must(binary.Read(r, binary.LittleEndian, piece))
		scores[i] = math.Float32frombits(entry.Score)
		tokens[i] = strings.ReplaceAll(string(piece), " ", "▁")
		switch {
		case i == 0:
			types[i] = 2 // unknown
		case i < 3:
			types[i], tokens[i] = 3, strings.TrimSpace(string(piece)) // control
		case i < 259:
			types[i] = 6 // byte
		default:
			types[i] = 1 // normal
		}
	}
	w.Set("tokenizer.ggml.model", "llama")
	w.Set("tokenizer.ggml.tokens", tokens)
	w.Set("tokenizer.ggml.scores", scores)
	w.Set("tokenizer.ggml.token_type", types)
	w.Set("tokenizer.ggml.bos_token_id", 1)
	w.Set("tokenizer.ggml.eos_token_id", 2)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
