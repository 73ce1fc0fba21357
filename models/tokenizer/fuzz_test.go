package tokenizer

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFromJSON: no bytes make FromJSON panic, nor what it returns.
func FuzzFromJSON(f *testing.F) {
	for _, name := range made {
		data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}`))
	f.Add([]byte(`{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0], ["b", -1]]}}`))
	f.Add([]byte(`{"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}, "model": {"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9, "vocab": {"a": 0, "##b": 1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := FromJSON(data)
		if err != nil {
			return
		}
		ids, err := tok.Encode("ab <s>é", true)
		if err != nil {
			return
		}
		_, _, _ = tok.EncodePair(context.Background(), "a", "b", Options{})
		tok.Decode(ids, true)
	})
}

// FuzzEncode: any text can be encoded, streams back as Decode has it, and
// survives where the vocabulary loses nothing.
func FuzzEncode(f *testing.F) {
	for _, text := range readGoldens(f).Texts {
		f.Add(text)
	}
	f.Add("\xff\xfe\xed\xa0\x80")
	var toks []*Tokenizer
	for _, name := range made {
		toks = append(toks, openGolden(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		valid := strings.ToValidUTF8(text, "\uFFFD")
		for i, tok := range toks {
			ids := encode(t, tok, text, Options{Plain: true})
			for _, id := range ids {
				if id < 0 || int(id) >= tok.VocabSize() || tok.IsSpecial(id) && made[i] != "bert-cased-like" && made[i] != "t5-like" && made[i] != "splits" {
					t.Fatalf("%s: %q encodes as %v", made[i], text, ids)
				}
			}
			checkStream(t, tok, ids)
			checkStream(t, tok, encode(t, tok, text, Options{AddSpecial: true}))
			switch made[i] {
			case "llama3-like":
				if strings.Contains(valid, "<left>") || strings.Contains(valid, "<right>") {
					continue // they take the white space beside them
				}
			case "o200k-like":
			default:
				continue
			}
			if got := tok.Decode(ids, false); got != valid {
				t.Fatalf("%s: %q comes back as %q", made[i], valid, got)
			}
		}
	})
}

// FuzzFromGGUF: no metadata makes FromGGUF panic, nor what it returns. The
// metadata is an object of JSON values, so that keys of any type are tried.
func FuzzFromGGUF(f *testing.F) {
	f.Add(`{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.tokens": ["a", "b", "ab", "<s>"], "tokenizer.ggml.token_type": [1, 1, 1, 3], "tokenizer.ggml.merges": ["a b"], "tokenizer.ggml.bos_token_id": 3, "tokenizer.ggml.add_bos_token": true}`)
	f.Add(`{"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["<unk>", "<0x61>", "▁a", "b"], "tokenizer.ggml.scores": [0, 0, -1.5, -2], "tokenizer.ggml.token_type": [2, 6, 1, 4], "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.add_space_prefix": false}`)
	f.Add(`{"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": ["[UNK]", "▁ab", "c", "[CLS]", "[SEP]"], "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.seperator_token_id": 4}`)
	f.Fuzz(func(t *testing.T, metadata string) {
		var m jsonMetadata
		if json.Unmarshal([]byte(metadata), &m) != nil {
			return
		}
		tok, err := FromGGUF(m)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "tokenizer: gguf: ") {
				t.Errorf("got %v", err)
			}
			return
		}
		ids, err := tok.Encode("ab <s>é", true)
		if err != nil {
			return
		}
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("token %d of %d", id, tok.VocabSize())
			}
		}
		tok.Decode(ids, true)
	})
}

// jsonMetadata is metadata as JSON has it.
type jsonMetadata map[string]json.RawMessage

func valueOf[T any](m jsonMetadata, key string) (v T, ok bool) {
	raw, ok := m[key]
	return v, ok && json.Unmarshal(raw, &v) == nil
}

func (m jsonMetadata) String(key string) (string, bool)    { return valueOf[string](m, key) }
func (m jsonMetadata) Strings(key string) ([]string, bool) { return valueOf[[]string](m, key) }
func (m jsonMetadata) Int(key string) (int, bool)          { return valueOf[int](m, key) }
func (m jsonMetadata) Ints(key string) ([]int, bool)       { return valueOf[[]int](m, key) }
func (m jsonMetadata) Floats(key string) ([]float64, bool) { return valueOf[[]float64](m, key) }
func (m jsonMetadata) Bool(key string) (bool, bool)        { return valueOf[bool](m, key) }
