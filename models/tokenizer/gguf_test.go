package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestReference compares with llama.cpp's reference tokenisations: of each
// vocabulary as GGUF, and as tokenizer.json where that is here too. The
// folder TOKENIZER_REFERENCE, if set, replaces the shared one.
func TestReference(t *testing.T) {
	dir := os.Getenv("TOKENIZER_REFERENCE")
	if dir == "" {
		dir = shared(t, "tokenizers", "reference")
	}
	ggufs, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range ggufs {
		t.Run(filepath.Base(path), func(t *testing.T) {
			tok, err := FromGGUF(readMetadata(t, path))
			if err != nil {
				t.Fatal(err)
			}
			compareReference(t, tok, path)
		})
	}
	for name, reference := range map[string]string{
		"gpt2": "gpt-2", "roberta": "roberta-bpe", "smollm2": "smollm", "bert-uncased": "bert-bge", "qwen3": "qwen2",
	} {
		t.Run(name, func(t *testing.T) {
			compareReference(t, openGolden(t, name), filepath.Join(dir, "ggml-vocab-"+reference+".gguf"))
		})
	}
}

func compareReference(t *testing.T, tok *Tokenizer, path string) {
	t.Helper()
	input, err := os.ReadFile(path + ".inp")
	if os.IsNotExist(err) {
		t.Skip("no reference for it")
	}
	if err != nil {
		t.Fatal(err)
	}
	output, err := os.ReadFile(path + ".out")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	texts := strings.Split(string(input), "\n__ggml_vocab_test__\n")
	if len(texts) > len(lines) {
		texts = texts[:len(lines)]
	}
	if len(texts) != len(lines) || len(texts) < 40 {
		t.Fatalf("%d texts for %d lines of ids", len(texts), len(lines))
	}
	for i, text := range texts {
		var want []int32
		for _, field := range strings.Fields(lines[i]) {
			id, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, int32(id))
		}
		equalIDs(t, tok, text, tok.Encode(text, false), want)
	}
}

// metadata is the key-value part of a GGUF file, read for these tests alone.
type metadata map[string]any

func readMetadata(t *testing.T, path string) metadata {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	u32 := func() uint32 { v := le.Uint32(data); data = data[4:]; return v }
	u64 := func() uint64 { v := le.Uint64(data); data = data[8:]; return v }
	str := func() string { n := u64(); s := string(data[:n]); data = data[n:]; return s }
	var value func(kind uint32) any
	value = func(kind uint32) any {
		switch kind {
		case 0, 1, 7:
			v := int64(data[0])
			data = data[1:]
			return v
		case 2, 3:
			v := int64(le.Uint16(data))
			data = data[2:]
			return v
		case 4, 5:
			return int64(int32(u32()))
		case 6:
			return float64(math.Float32frombits(u32()))
		case 8:
			return str()
		case 9:
			kind, n := u32(), u64()
			list := make([]any, n)
			for i := range list {
				list[i] = value(kind)
			}
			return list
		case 10, 11:
			return int64(u64())
		case 12:
			return math.Float64frombits(u64())
		}
		panic(fmt.Sprintf("GGUF type %d", kind))
	}
	u32() // magic
	u32() // version
	u64() // tensors
	m := make(metadata)
	for range u64() {
		key := str()
		m[key] = value(u32())
	}
	return m
}

func get[T any](m metadata, key string) (T, bool) {
	v, ok := m[key].(T)
	return v, ok
}

func list[T any](m metadata, key string) ([]T, bool) {
	values, ok := m[key].([]any)
	if !ok {
		return nil, false
	}
	out := make([]T, len(values))
	for i, v := range values {
		if out[i], ok = v.(T); !ok {
			return nil, false
		}
	}
	return out, true
}

func (m metadata) String(key string) (string, bool)    { return get[string](m, key) }
func (m metadata) Int(key string) (int64, bool)        { return get[int64](m, key) }
func (m metadata) Strings(key string) ([]string, bool) { return list[string](m, key) }
func (m metadata) Ints(key string) ([]int64, bool)     { return list[int64](m, key) }
func (m metadata) Floats(key string) ([]float64, bool) { return list[float64](m, key) }
func (m metadata) Bool(key string) (bool, bool) {
	v, ok := m.Int(key)
	return v != 0, ok
}
