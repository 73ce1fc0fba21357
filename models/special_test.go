package models

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSpecialTokens: what a base names as its first, last or padding token is
// one of its tokens, or the key is named in a refusal. -1 stands for none.
func TestSpecialTokens(t *testing.T) {
	open := func(config, generation string, o Options) (Model, error) {
		dir := folderWith(t, "llama-gqa", config, nil)
		if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(generation), 0o600); err != nil {
			t.Fatal(err)
		}
		m, s, err := Open(dir, o)
		if err == nil {
			err = s.Close()
		}
		return m, err
	}
	m, err := open(`{"eos_token_id": 1}`, `{}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := m.Config().Vocabulary
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
		for _, wrong := range []string{fmt.Sprint(size), "2147483647", "-2"} {
			bad := fmt.Sprintf(`{%q: %s}`, key, wrong)
			want := fmt.Sprintf("config.json: %s %s is no token: the vocabulary has 0 to %d", key, wrong, size-1)
			if _, err := open(bad, `{}`, Options{}); err == nil || strings.Contains(err.Error(), "generation_config") || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %s", err, want)
			}
			if _, err := open(`{}`, bad, Options{}); err == nil || !strings.Contains(err.Error(), "generation_"+want) {
				t.Errorf("%v; want generation_%s", err, want)
			}
			if _, err := open(bad, `{}`, Options{IgnoreConfigKeys: []string{key}}); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := open(`{}`, fmt.Sprintf(`{"eos_token_id": [1, %d]}`, size), Options{}); err == nil {
		t.Error("a list's end token is not looked at")
	}
	if _, err := open(`{}`, `{"eos_token_id": [1, null]}`, Options{}); err == nil || !strings.Contains(err.Error(), "generation_config.json: a list of tokens has a null") {
		t.Errorf("a null among the end tokens: %v", err)
	}
	m, err = open(`{"eos_token_id": -1, "bos_token_id": -1, "pad_token_id": -1}`, fmt.Sprintf(`{"eos_token_id": [-1, %d]}`, size-1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Config(); c.BOS != -1 || !slices.Equal(c.EOS, []int32{int32(size - 1)}) {
		t.Errorf("it begins with %d and ends with %v", c.BOS, c.EOS)
	}
}

// TestGPT2Default: a small GPT-2 whose maker has named no tokens is opened.
func TestGPT2Default(t *testing.T) {
	m, s, err := Open(folderWith(t, "gpt2", `{"bos_token_id": 50256, "eos_token_id": 50256}`, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if c := m.Config(); c.BOS != -1 || len(c.EOS) > 0 || len(s.Warnings) != 2 || !strings.Contains(s.Warnings[1], "eos_token_id 50256") {
		t.Errorf("it begins with %d and ends with %v: %q", c.BOS, c.EOS, s.Warnings)
	}
}

// TestSpecialTokensOfGGUF: of a GGUF file likewise; 2³²-1 is -1 there.
func TestSpecialTokensOfGGUF(t *testing.T) {
	for _, of := range []string{"bos", "eos", "eot", "eom"} {
		key := "tokenizer.ggml." + of + "_token_id"
		for id, refused := range map[uint32]bool{1: false, 1 << 20: true, 1<<32 - 1: false} {
			m, s, err := Open(fileWith(t, "llama", map[string]any{key: id}, nil), Options{})
			if refused {
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s %d is no token", key, id)) {
					t.Errorf("%v; want %s", err, key)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if c := m.Config(); slices.Contains(c.EOS, -1) || of == "bos" && c.BOS != int32(id) {
				t.Errorf("%s of %d: it begins with %d and ends with %v", key, id, c.BOS, c.EOS)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
