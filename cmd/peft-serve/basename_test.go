package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
)

// An adapter that names its base as the base's files do, which is what peft-train writes,
// or as its folder is called is this base's, and no other is.
func TestBaseGoesByItsNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(text, &config))
	config["_name_or_path"] = "owner/Grand-Model"
	text, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o644))
	b, err := openBase(t.Context(), dir, models.Options{}, silent())
	require.NoError(t, err)
	defer func() { require.NoError(t, b.source.Close()) }()
	b.strict = true
	folder := filepath.Join(dir+"-adapters", "lora")
	for named, taken := range map[string]bool{b.source.OwnName(): true, "grand_model": true, "tiny": true, "someone/tiny": true, "owner/small-model": false} {
		f, err := adapters.Open(folder)
		require.NoError(t, err)
		require.NoError(t, f.Config.NameBase(named, ""))
		named := filepath.Join(t.TempDir(), "named")
		require.NoError(t, f.Save(named))
		_, err = b.load(t.Context(), catalogue.Source{Dir: named})
		if taken {
			require.NoError(t, err)
			require.Empty(t, b.inspect(named))
		} else {
			require.ErrorIs(t, err, adapters.ErrBase)
			require.Contains(t, b.inspect(named), "owner/small-model")
		}
	}
}
