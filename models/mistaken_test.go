package models

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakenBases: what is no base says what it is, and what was meant.
func TestMistakenBases(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, config := range map[string]string{
		"hub":     `{"base_model_name_or_path": "owner/name"}`,
		"folder":  `{"base_model_name_or_path": "./bases/one"}`,
		"nowhere": `{"base_model_name_or_path": null}`,
		"broken":  `{`,
	} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(name, "adapter_config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"hub":         "hub is an adapter (adapter_config.json), not a base: its base is hf://owner/name",
		"folder":      "its base is ./bases/one",
		"nowhere":     "name the base that it was trained on",
		"broken":      "name the base that it was trained on",
		"nobody/name": "no such file or directory; did you mean hf://nobody/name?",
		"gpt2":        "did you mean hf://gpt2?",
	} {
		if _, err := OpenSource(path, Options{}); !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := OpenSource("./here/name", Options{}); err == nil || strings.Contains(err.Error(), "hf://") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile("hub/config.json", []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := NotAdapter("hub"); err != nil {
		t.Errorf("beside a base: %v", err)
	}
}
