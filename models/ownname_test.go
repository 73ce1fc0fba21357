package models_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
)

func TestNameOfAFolder(t *testing.T) {
	for written, want := range map[string]string{
		"HuggingFaceTB/SmolLM2-135M": "HuggingFaceTB/SmolLM2-135M", "gpt2": "gpt2", "01-ai/Yi-1.5": "01-ai/Yi-1.5",
		"": "", "model": "", "./model": "", "/home/someone/model": "", "../a/b": "", "a/b/c": "", "out/checkpoint-100": "",
		`C:\models\x`: "", "a/": "", "/b": "", "a b/c": "",
	} {
		require.Equal(t, want, models.ConfigName(fmt.Appendf(nil, `{"_name_or_path": %q}`, written)), written)
	}
	require.Empty(t, models.ConfigName([]byte(`{}`)))
	require.Empty(t, models.ConfigName([]byte(`{"_name_or_path": 3}`)))
}

// TestNameOfAGGUF: as llama.cpp's converter and those who quantise write it.
func TestNameOfAGGUF(t *testing.T) {
	type keys map[string]any
	const hub = "https://huggingface.co/"
	for _, c := range []struct {
		want string
		keys keys
	}{
		{"", nil},
		{"", keys{"general.name": "/tmp/model"}},
		{"", keys{"general.name": "some/where/model"}},
		{"SmolLM2 135M Instruct", keys{"general.name": "SmolLM2 135M Instruct", "general.organization": "HuggingFaceTB"}},
		{"owner/x", keys{"general.name": "X", "general.source.huggingface.repository": "owner/x"}},
		{"owner/x", keys{"general.name": "X", "general.source.repo_url": hub + "owner/x"}},
		{"owner/x", keys{"general.name": "X", "general.repo_url": hub + "owner/x/"}},
		{"X", keys{"general.name": "X", "general.repo_url": "https://example.org/owner/x"}},
		// Somebody's copy, and a fine-tune.
		{"owner/SmolLM2-135M-Instruct", keys{"general.name": "SmolLM2 135M Instruct", "general.repo_url": hub + "unsloth",
			"general.base_model.count": uint32(1), "general.base_model.0.repo_url": hub + "owner/SmolLM2-135M-Instruct"}},
		{"SmolLM2 135M Instruct", keys{"general.name": "SmolLM2 135M Instruct",
			"general.base_model.count": uint32(1), "general.base_model.0.repo_url": hub + "owner/SmolLM2-135M"}},
	} {
		w := gguf.NewWriter("llama")
		for k, v := range c.keys {
			w.Set(k, v)
		}
		path := filepath.Join(t.TempDir(), "x.gguf")
		require.NoError(t, w.WriteFile(path))
		f, err := gguf.Open(path)
		require.NoError(t, err)
		require.Equal(t, c.want, (&models.Source{GGUF: f}).OwnName(), "%v", c.keys)
		require.NoError(t, f.Close())
	}
}

// TestNames: all that a base's files call it, its own name first.
func TestNames(t *testing.T) {
	w := gguf.NewWriter("llama")
	w.Set("general.name", "X")
	w.Set("general.source.huggingface.repository", "owner/x")
	w.Set("general.repo_url", "https://example.org/y")
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, w.WriteFile(path))
	f, err := gguf.Open(path)
	require.NoError(t, err)
	require.Equal(t, []string{"owner/x", "X", "https://example.org/y"}, (&models.Source{GGUF: f}).Names())
	require.NoError(t, f.Close())
	require.Empty(t, (&models.Source{}).Names())
}
