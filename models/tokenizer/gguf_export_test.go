package tokenizer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestExported: what a GGUF file is told of a tokenizer makes one that does the
// same, with the same roles.
func TestExported(t *testing.T) {
	same := func(t *testing.T, own *Tokenizer, pre string) {
		t.Helper()
		v, err := own.GGUF()
		if err != nil {
			t.Fatal(err)
		}
		if v["tokenizer.ggml.pre"] != pre {
			t.Errorf("it splits texts as %v, want %s", v["tokenizer.ggml.pre"], pre)
		}
		other, err := FromGGUF(v)
		if err != nil || !other.Same(own) || !other.SameRoles(own) {
			t.Errorf("%v: read back it does something else", err)
		}
	}
	for _, digits := range []bool{true, false} {
		learnt := trained(t, &Trainer{Vocabulary: 266, Special: []string{"<|end|>", "<pad>"}, Digits: digits}, "one two three two one two 1234 1234")
		dir := t.TempDir()
		if err := learnt.Write(dir, Roles{EOS: "<|end|>", Pad: "<pad>"}, ""); err != nil {
			t.Fatal(err)
		}
		own, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		same(t, own, map[bool]string{true: "smollm", false: "gpt-2"}[digits])
	}
	for name, pre := range map[string]string{"smollm2": "smollm", "qwen3": "qwen2"} {
		t.Run(name, func(t *testing.T) {
			own, err := Load(shared(t, "tokenizers", name))
			if err != nil {
				t.Fatal(err)
			}
			same(t, own, pre)
		})
	}
}

// TestNotExported: another tokenizer is refused, not written as something else.
func TestNotExported(t *testing.T) {
	for _, name := range []string{"t5-like.json", "bert-cased-like.json", "sp-bpe.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		own, err := FromJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own.GGUF(); !errors.Is(err, ErrGGUF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.IsSortedFunc([]string{"gpt-2", "smollm", "bloom"}, byFame) {
		t.Error("names that later models have taken over come first")
	}
}
