package models

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// FuzzConfig opens golden bases under whatever config.json and
// generation_config.json it is given: a refusal names one of them or a tensor.
func FuzzConfig(f *testing.F) {
	bases := []string{"llama", "llama-gqa", "qwen2", "qwen3", "qwen3moe", "gemma3", "phi3", "gpt2", "mistral", "encoders/bert", "encoders/roberta", "encoders/distilbert", "encoders/electra", "encoders/mpnet", "encoders/modernbert", "encoders/deberta", "encoders/deberta-own", "encoders-gguf/nomic-bert"}
	dirs := make([]string, len(bases))
	for i, base := range bases {
		dirs[i] = f.TempDir()
		weights, err := os.ReadFile(filepath.Join(goldens, base, safetensors.SingleFile))
		if err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dirs[i], safetensors.SingleFile), weights, 0o600); err != nil {
			f.Fatal(err)
		}
		variants, err := filepath.Glob(filepath.Join(goldens, base, "config*.json"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range variants {
			config, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(i), config, []byte(`{"eos_token_id": [1], "bos_token_id": 0}`))
		}
	}
	f.Fuzz(func(t *testing.T, base byte, config, generation []byte) {
		dir := dirs[int(base)%len(dirs)]
		for name, b := range map[string][]byte{"config.json": config, "generation_config.json": generation} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, s, err := Open(dir, Options{})
		if err != nil {
			if text := err.Error(); !strings.Contains(text, "config.json") && !strings.Contains(text, "tensor") && !strings.Contains(text, ".safetensors") {
				t.Errorf("nothing is named in %v", err)
			}
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzGGUF opens whatever it is given as a base.
func FuzzGGUF(f *testing.F) {
	var files []string
	for _, of := range []string{"converted", "encoders-gguf"} {
		found, err := filepath.Glob(filepath.Join(goldens, of, "*", "model.gguf"))
		if err != nil || len(found) == 0 {
			f.Fatalf("no converted bases in %s: %v", of, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "model.gguf")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, s, err := Open(path, Options{})
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("no file in %v", err)
			}
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
