package adapters

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	lay := func(names ...string) {
		for _, name := range names {
			place := filepath.Join(dir, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(place), 0o755), os.WriteFile(place, []byte("x"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	lay(TorchFile, "tokenizer/of/another", "checkpoint/state", RunMark, "metrics.jsonl", ".hidden")
	if _, err := Files(dir); !errors.Is(err, ErrConfig) {
		t.Errorf("without a configuration: %v", err)
	}
	lay(ConfigFile, "config.json", "tokenizer.json", "additional_chat_templates/a.jinja")
	files, err := Files(dir)
	if want := []string{ConfigFile, TorchFile, "additional_chat_templates/a.jinja", "config.json", "tokenizer.json"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v", files, err)
	}
	lay(SafeFile)
	if files, err = Files(dir); err != nil || slices.Contains(files, TorchFile) || !slices.Contains(files, SafeFile) {
		t.Errorf("%q, %v", files, err)
	}
	for _, name := range files {
		if !IsFile(name) {
			t.Errorf("%q is no file of an adapter", name)
		}
	}
	lay("a.gguf")
	if files, err = Files(dir); err != nil || slices.Contains(files, "a.gguf") {
		t.Errorf("beside a configuration: %q, %v", files, err)
	}
	stored := t.TempDir()
	dir = stored
	lay("a.gguf", ".b.gguf", "tokenizer.json")
	if files, err = Files(dir); err != nil || !slices.Equal(files, []string{"a.gguf", "tokenizer.json"}) {
		t.Errorf("of llama.cpp's form: %q, %v", files, err)
	}
	lay("b.gguf")
	if _, err = Files(dir); !errors.Is(err, ErrConfig) {
		t.Errorf("two of llama.cpp's form: %v", err)
	}
	for _, name := range []string{"", ".", ".gguf", ".a.gguf", "/.gguf", "/a.gguf", "../a.gguf", "a/b.gguf", "..", RunMark, "../" + ConfigFile, "/" + SafeFile, `tokenizer\..\..\x`, "tokenizer:x", "tokenizer/x", "tokenizer\x00", "additional_chat_templates/../x.jinja"} {
		if IsFile(name) {
			t.Errorf("%q is a file of an adapter", name)
		}
	}
}
