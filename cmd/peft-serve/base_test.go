package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
)

// What the base's folder recommends to sample with is read, faults included.
func TestBaseRecommendsSampling(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	path := filepath.Join(dir, "generation_config.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"temperature":0.6}`), 0o644))
	b, err := openBase(t.Context(), dir, models.Options{}, silent())
	require.NoError(t, err)
	require.NoError(t, b.source.Close())
	require.InDelta(t, 0.6, *b.sampling.Temperature, 0)
	require.NoError(t, os.WriteFile(path, []byte(`{"top_p":7}`), 0o644))
	_, err = openBase(t.Context(), dir, models.Options{}, silent())
	require.ErrorContains(t, err, path+": top_p is 7")
}
