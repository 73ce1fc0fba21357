package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// english is about a quarter of a megabyte of prose, cold to the cache in the
// first pass and warm after.
func english(b *testing.B) string {
	data, err := os.ReadFile(filepath.Join(shared(b, "text", "gutenberg"), "Great-Expectations_1400.txt"))
	if err != nil {
		b.Skip(err)
	}
	return strings.ToValidUTF8(string(data[100_000:356_000]), "")
}

func BenchmarkEncode(b *testing.B) {
	text := english(b)
	for _, name := range []string{"gpt2", "smollm2", "qwen3", "bert-uncased", "sp-bpe", "t5-like", "o200k-like"} {
		b.Run(name, func(b *testing.B) {
			tok := openGolden(b, name)
			var ids []int32
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if ids, err = tok.AppendEncode(b.Context(), ids[:0], text, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncodeRun is one word of a megabyte: what an attacker would send.
func BenchmarkEncodeRun(b *testing.B) {
	for _, name := range []string{"gpt2", "sp-bpe"} {
		b.Run(name, func(b *testing.B) {
			tok := openGolden(b, name)
			text := strings.Repeat("the", 1<<20/3)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				encode(b, tok, text, Options{})
			}
		})
	}
}

func BenchmarkDecoder(b *testing.B) {
	text := english(b)
	for _, name := range []string{"gpt2", "sp-bpe", "bert-uncased"} {
		b.Run(name, func(b *testing.B) {
			tok := openGolden(b, name)
			ids := encode(b, tok, text, Options{})
			d := tok.NewDecoder(true)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for _, id := range ids {
					d.Push(id)
				}
				d.Flush()
			}
		})
	}
}

func BenchmarkFromJSON(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3"} {
		b.Run(name, func(b *testing.B) {
			data, err := os.ReadFile(filepath.Join(shared(b, "tokenizers", name), "tokenizer.json"))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := FromJSON(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
