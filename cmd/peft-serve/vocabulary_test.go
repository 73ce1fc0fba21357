package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
)

// An adapter may bring the base's tokenizer.json, and tokens beyond the base's
// embeddings, but no other text for one of the base's ids.
func TestAdapterTokenizer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	b, err := openBase(t.Context(), dir, models.Options{}, silent())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.source.Close()) })
	adapter := filepath.Join(dir+"-adapters", "lora")
	load := func(tokenizer []byte) error {
		require.NoError(t, os.WriteFile(filepath.Join(adapter, "tokenizer.json"), tokenizer, 0o644))
		_, err := b.load(context.Background(), runtime.Source{Name: "lora", Dir: adapter})
		return err
	}
	own, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
	require.NoError(t, err)
	require.NoError(t, load(own))
	// with an added token, at an id
	with := func(id int, text string) []byte {
		var file map[string]any
		require.NoError(t, json.Unmarshal(own, &file))
		added, _ := file["added_tokens"].([]any)
		file["added_tokens"] = append(added, map[string]any{"id": id, "content": text, "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
		out, err := json.Marshal(file)
		require.NoError(t, err)
		return out
	}
	rows := b.model.Config().Vocabulary
	require.NoError(t, load(with(rows, "[PAD]")))
	for range 2 { // the second time from memory
		err = load(with(5, "<tool>"))
		require.ErrorIs(t, err, errVocabulary)
		require.ErrorContains(t, err, `token 5 is "<tool>" there`)
	}
	require.ErrorContains(t, load([]byte("{}")), "it cannot be read")
}
