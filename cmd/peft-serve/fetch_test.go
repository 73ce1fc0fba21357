package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/hub"
)

// hubOf is a hub with one repository, owner/name, that holds a folder's files.
func hubOf(t *testing.T, folder string) *httptest.Server {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/models/owner/name/revision/main" {
			var files []map[string]string
			entries, err := os.ReadDir(folder)
			require.NoError(t, err)
			for _, e := range entries {
				files = append(files, map[string]string{"rfilename": e.Name()})
			}
			require.NoError(t, json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": files}))
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, "/owner/name/resolve/"+commit+"/")
		text, err := os.ReadFile(filepath.Join(folder, name))
		if !ok || err != nil {
			w.Header().Set("X-Error-Code", "RepoNotFound")
			http.NotFound(w, r)
			return
		}
		sum := sha256.Sum256(text)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, err = w.Write(text)
		require.NoError(t, err)
	}))
	t.Cleanup(server.Close)
	return server
}

// An adapter of the hub is fetched when it is first used; what goes wrong is
// told to who asked.
func TestHubAdapters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	cache := t.TempDir()
	server := hubOf(t, filepath.Join(dir+"-adapters", "lora"))
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_HUB_CACHE", cache)
	t.Setenv("HF_TOKEN_PATH", filepath.Join(cache, "none"))
	b, err := openBase(t.Context(), dir, models.Options{}, silent())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.source.Close()) })
	known, err := catalogue.New(b.load, catalogue.Options{Schemes: map[string]catalogue.Scheme{"hf": hubScheme(slog.New(slog.DiscardHandler))}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, known.Close()) })
	load := func(uri string) (catalogue.Entry, error) {
		require.NoError(t, known.Replace("x", uri))
		return known.Load(context.Background(), "x")
	}
	entry, err := load("hf://owner/name")
	require.NoError(t, err)
	local, err := load("file://" + filepath.Join(dir+"-adapters", "lora"))
	require.NoError(t, err)
	require.Equal(t, local.Digest, entry.Digest)
	links := 0
	require.NoError(t, filepath.WalkDir(cache, func(_ string, d fs.DirEntry, err error) error {
		if d.Type()&fs.ModeSymlink != 0 {
			links++
		}
		return err
	}))
	require.Equal(t, 2, links, "in the cache that the Python libraries share")

	_, err = load("hf://owner/another")
	require.ErrorIs(t, err, hub.ErrNotFound)
	_, err = load("hf://owner/name:adapter_model.safetensors")
	require.ErrorContains(t, err, "an adapter is a repository")
	_, err = load("hf://one/two/three")
	require.ErrorContains(t, err, "is not a repository")
	require.ErrorIs(t, known.Replace("x", "s3://bucket/name"), catalogue.ErrSource)
}
