package main

import (
	"errors"
	"os"
	"path/filepath"
)

// layBase makes a folder with the tiny base of the goldens, whose root is the
// repository's.
func layBase(root, dir string) error {
	goldens, tokenizer := filepath.Join(root, "testdata", "goldens", "llama"), filepath.Join(root, "serve", "testdata")
	err := os.Mkdir(dir, 0o755)
	for _, file := range []string{
		filepath.Join(goldens, "config.json"), filepath.Join(goldens, "model.safetensors"),
		filepath.Join(tokenizer, "tokenizer.json"), filepath.Join(tokenizer, "tokenizer_config.json"),
	} {
		content, fault := os.ReadFile(file)
		err = errors.Join(err, fault, os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o644))
	}
	return err
}
