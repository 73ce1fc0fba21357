package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
)

// An adapter that brings the base's tokenizer is read with the base's; another
// one is its own. Its end tokens are what its files name.
func TestAdapterWords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	b, err := openBase(t.Context(), dir, models.Options{}, silent())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.source.Close()) })
	adapter := filepath.Join(dir+"-adapters", "lora")
	load := func(files map[string]string) (catalogue.Adapter, error) {
		for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"} {
			require.NoError(t, os.RemoveAll(filepath.Join(adapter, name)))
			if content, ok := files[name]; ok {
				require.NoError(t, os.WriteFile(filepath.Join(adapter, name), []byte(content), 0o644))
			}
		}
		return b.load(context.Background(), catalogue.Source{Name: "lora", Dir: adapter})
	}
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(content)
	}
	own, config := read("tokenizer.json"), read("tokenizer_config.json")
	edited := func(change func(file map[string]any)) string {
		var file map[string]any
		require.NoError(t, json.Unmarshal([]byte(own), &file))
		change(file)
		out, err := json.MarshalIndent(file, "", " ")
		require.NoError(t, err)
		return string(out)
	}
	added := func(id int, text string) string {
		return edited(func(file map[string]any) {
			tokens, _ := file["added_tokens"].([]any)
			file["added_tokens"] = append(tokens, map[string]any{"id": id, "content": text, "special": true,
				"single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
		})
	}
	for name, file := range map[string]string{"the base's": own, "written otherwise": edited(func(map[string]any) {})} {
		a, err := load(map[string]string{"tokenizer.json": file, "tokenizer_config.json": config})
		require.NoError(t, err, name)
		require.Nil(t, a.Tokenizer(), name)
	}
	rows := b.model.Config().Vocabulary
	for name, file := range map[string]string{
		"a token beyond the model": added(rows, "[PAD]"),
		"another text":             added(5, "<tool>"),
		"another normalizer": edited(func(file map[string]any) {
			file["normalizer"] = map[string]any{"type": "Lowercase"}
		}),
	} {
		files := map[string]string{"tokenizer.json": file, "tokenizer_config.json": config}
		a, err := load(files)
		require.NoError(t, err, name)
		require.NotNil(t, a.Tokenizer(), name)
		again, err := load(files) // shared by all that bring it
		require.NoError(t, err, name)
		require.Same(t, a.Tokenizer(), again.Tokenizer(), name)
		require.Greater(t, a.Bytes(), a.Tokenizer().Bytes(), name)
	}
	for range 2 { // the second time from memory
		_, err = load(map[string]string{"tokenizer.json": "{}"})
		require.ErrorIs(t, err, adapters.ErrConfig)
		require.ErrorContains(t, err, "tokenizer.json: model: missing")
	}

	last := b.text.Token(int32(rows - 1))
	for _, c := range []struct {
		file, content string
		want          []int32
		refused       string
	}{
		{"generation_config.json", `{"eos_token_id": 7, "temperature": 0.5}`, []int32{7}, ""},
		{"generation_config.json", `{"eos_token_id": [7, 9, 7]}`, []int32{7, 9}, ""},
		{"generation_config.json", `{"eos_token_id": null}`, nil, ""},
		{"generation_config.json", `{}`, nil, ""},
		{"tokenizer_config.json", `{"eos_token": "` + last + `"}`, []int32{int32(rows - 1)}, ""},
		{"special_tokens_map.json", `{"eos_token": {"content": "` + last + `", "lstrip": false}}`, []int32{int32(rows - 1)}, ""},
		{"generation_config.json", `{"eos_token_id": 100000}`, nil, "generation_config.json: eos_token_id 100000 is outside the vocabulary of"},
		{"generation_config.json", `{"eos_token_id": [7, -1]}`, nil, "eos_token_id -1 is outside"},
		{"generation_config.json", `{"eos_token_id": "</s>"}`, nil, "generation_config.json: eos_token_id is \"</s>\": it has to be a token's id or a list of them"},
		{"generation_config.json", `{"eos_token_id": 7.5}`, nil, "it has to be"},
		{"generation_config.json", `[`, nil, "generation_config.json"},
		{"tokenizer_config.json", `{"eos_token": "<nowhere>"}`, nil, `tokenizer_config.json: eos_token "<nowhere>" is not a token`},
		{"tokenizer_config.json", `{"eos_token": 7}`, nil, "tokenizer_config.json: eos_token is 7"},
		{"special_tokens_map.json", `{"eos_token": {"lstrip": false}}`, nil, "special_tokens_map.json: eos_token is"},
	} {
		a, err := load(map[string]string{c.file: c.content})
		if c.refused != "" {
			require.ErrorIs(t, err, adapters.ErrConfig, c.content)
			require.ErrorContains(t, err, c.refused)
			continue
		}
		require.NoError(t, err, c.content)
		require.Equal(t, c.want, a.EndTokens(), c.content)
	}
	// a token that only the adapter's own tokenizer has
	a, err := load(map[string]string{"tokenizer.json": added(5, "<tool>"), "generation_config.json": `{"eos_token_id": 6}`, "tokenizer_config.json": `{"eos_token": "<tool>"}`})
	require.NoError(t, err)
	require.Equal(t, []int32{6, 5}, a.EndTokens())
	_, err = load(map[string]string{"tokenizer.json": added(rows, "[PAD]"), "tokenizer_config.json": `{"eos_token": "[PAD]"}`})
	require.ErrorContains(t, err, `tokenizer_config.json: eos_token "[PAD]"`)
	require.ErrorContains(t, err, "is outside the vocabulary")
}
