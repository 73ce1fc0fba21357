package models_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestConverted holds a folder, and the GGUF that llama.cpp's converter made of
// it, against transformers' logits of the folder.
func TestConverted(t *testing.T) {
	for name, weights := range converted(t) {
		t.Run(name, func(t *testing.T) {
			golden := modeltest.Goldens(t, "converted", name, "golden.safetensors")
			var window models.Options
			if name == "mistral-window" { // the one thing that the file does not say
				window.SlidingWindow = new(12)
			}
			checkGolden(t, opened(t, convertedFolder(t, name, weights), models.Options{}), golden)
			checkGolden(t, opened(t, modeltest.Goldens(t, "converted", name, "model.gguf"), window), golden)
		})
	}
}

// TestWindowWarning: a GGUF that may be a Mistral with a window says so when it
// is opened, and no other does.
func TestWindowWarning(t *testing.T) {
	for name := range converted(t) {
		s, err := models.OpenSource(modeltest.Goldens(t, "converted", name, "model.gguf"), models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if warned := strings.Contains(strings.Join(s.Warnings, "\n"), "--sliding-window"); warned != strings.HasPrefix(name, "mistral") {
			t.Errorf("%s: warnings %q", name, s.Warnings)
		}
	}
}

// converted lists the cases with the name of their weights.
func converted(t *testing.T) map[string]string {
	b, err := os.ReadFile(modeltest.Goldens(t, "converted", "weights.json"))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{}
	if err := json.Unmarshal(b, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	return cases
}

func convertedFolder(t *testing.T, name, weights string) string {
	dir := t.TempDir()
	copyFile(t, modeltest.Goldens(t, "converted", name, "config.json"), filepath.Join(dir, "config.json"))
	copyFile(t, modeltest.Goldens(t, "converted", weights+".safetensors"), filepath.Join(dir, "model.safetensors"))
	return dir
}

func opened(t *testing.T, path string, o models.Options) models.Model {
	t.Helper()
	m, s, err := models.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return m
}
