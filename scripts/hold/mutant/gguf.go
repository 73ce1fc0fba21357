package mutant

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/gguf"
)

// oddMetadata are values that a reader may not expect under any key.
var oddMetadata = []any{
	"", "a", "llama", "gpt2", strings.Repeat("a", 100_000), true, false, uint8(0), int8(-1), uint32(0), uint32(1), uint32(3), uint32(math.MaxUint32), int32(-1), int32(math.MinInt32),
	uint64(1 << 40), uint64(math.MaxUint64), int64(math.MinInt64), float32(0), float32(1e38), float32(-1), float32(math.NaN()), float32(math.Inf(1)), float64(1e300),
	[]string{}, []string{"a"}, []string{"", "", ""}, []int32{}, []int32{-1, 9, 1 << 30}, []float32{}, []float32{float32(math.NaN())}, []uint8{1, 2, 3}, []bool{true},
	make([]int32, 100_000),
}

// moreMetadata are keys that a file may have.
var moreMetadata = []string{
	"llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.sliding_window", "llama.expert_count",
	"general.quantization_version", "general.file_type", "split.count", "split.no", "tokenizer.ggml.pre", "tokenizer.ggml.add_bos_token", "tokenizer.chat_template",
	"tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "adapter.type", "llama.unknown", "x",
}

// mutateGGUF changes one metadata value or one tensor.
func mutateGGUF(draw *rand.Rand, b []byte) ([]byte, string, error) {
	f, err := gguf.Parse("", b)
	if err != nil {
		return nil, "", err
	}
	keys, tensors := f.Keys(), f.Tensors()
	if len(keys) == 0 || len(tensors) == 0 {
		return nil, "", errors.New("nothing in it")
	}
	w := gguf.NewWriter("")
	key, i := keys[draw.IntN(len(keys))], -1
	var value any
	var did string
	switch draw.IntN(5) {
	case 0:
		did = key + ": removed"
	case 1:
		i = draw.IntN(len(tensors))
		key = ""
	case 2:
		key = moreMetadata[draw.IntN(len(moreMetadata))]
		fallthrough
	default:
		value = oddMetadata[draw.IntN(len(oddMetadata))]
		did = fmt.Sprintf("%s: now %s", key, short(fmt.Sprintf("%T %v", value, value)))
	}
	for _, k := range keys {
		if k != key && k != "general.alignment" {
			w.Copy(f, k)
		}
	}
	if value != nil {
		w.Set(key, value)
	}
	for j, t := range tensors {
		if j == i {
			did = addMutant(draw, w, t)
			continue
		}
		w.Add(t.Name, t.Type, t.Dims, t.Data)
	}
	var out bytes.Buffer
	if err := w.Write(&out); err != nil {
		return nil, "", err
	}
	return out.Bytes(), did, nil
}

// addMutant adds a tensor otherwise than it was.
func addMutant(draw *rand.Rand, w *gguf.Writer, t gguf.Tensor) string {
	name, dims := t.Name, slices.Clone(t.Dims)
	switch draw.IntN(5) {
	case 0:
		return name + ": removed"
	case 1:
		name = [...]string{name + "x", "", strings.Replace(name, "0", "99", 1), "rope_freqs.weight", "output.weight"}[draw.IntN(5)]
	case 2:
		slices.Reverse(dims)
	case 3:
		dims = append(dims, 1)
	case 4:
		data := slices.Clone(t.Data)
		for at := draw.IntN(len(data)); at < len(data); at += 97 {
			data[at] = 0xff
		}
		w.Add(name, t.Type, dims, data)
		return name + ": bytes 0xff"
	}
	w.Add(name, t.Type, dims, t.Data)
	return fmt.Sprintf("%s: as %q %v", t.Name, name, dims)
}
