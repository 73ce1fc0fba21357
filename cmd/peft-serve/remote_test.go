package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/adapters/remote/oci"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/hub"
)

const goldenAdapters = "../../testdata/goldens/llama/adapters"

// registryOf is a registry with golden adapters under their names, for the bases
// of those digests.
func registryOf(t *testing.T, bases []string, names ...string) (host string, manifests map[string]string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host, manifests = strings.TrimPrefix(server.URL, "http://"), map[string]string{}
	registries, err := oci.New(oci.Config{Client: remote.Client()})
	require.NoError(t, err)
	for _, name := range names {
		manifests[name], err = registries.Push(t.Context(), fmt.Sprintf("oci://%s/team/%s:v1", host, name), oci.Pushed{Dir: filepath.Join(goldenAdapters, name), Bases: bases})
		require.NoError(t, err)
	}
	return host, manifests
}

// storeOf is an S3-compatible store with golden adapters under their names in a
// bucket; the variables lead there.
func storeOf(t *testing.T, names ...string) {
	t.Helper()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("bucket"))
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	for _, name := range names {
		files, err := adapters.Files(filepath.Join(goldenAdapters, name))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(goldenAdapters, name, file))
			require.NoError(t, err)
			request, err := http.NewRequest(http.MethodPut, server.URL+"/bucket/"+name+"/"+file, bytes.NewReader(text))
			require.NoError(t, err)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
		}
	}
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
}

func goldenDigest(t *testing.T, name string) string {
	t.Helper()
	folder, err := adapters.Open(filepath.Join(goldenAdapters, name))
	require.NoError(t, err)
	return folder.Digest()
}

func tinyBase(t *testing.T) *base {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	b, err := openBase(t.Context(), dir, models.Options{}, silent())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.source.Close()) })
	return b
}

// Adapters of registries and stores are those of their folders, or errors that
// name the URI.
func TestRemoteAdapters(t *testing.T) {
	b := tinyBase(t)
	host, manifests := registryOf(t, []string{b.digest()}, "lora")
	wrong, _ := registryOf(t, []string{strings.Repeat("01", 32)}, "lora")
	storeOf(t, "lora", "dora")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	c := &serveCommand{hosting: hosting{AdapterCache: t.TempDir(), UploadLimit: 1 << 20}}
	known, err := catalogue.New(b.load, catalogue.Options{Schemes: c.remotes(b, silent(), slog.New(slog.DiscardHandler)).schemes()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, known.Close()) })
	load := func(uri string) (catalogue.Entry, error) {
		require.NoError(t, known.Replace("x", uri))
		return known.Load(context.Background(), "x")
	}
	for _, uri := range []string{
		"oci://" + host + "/team/lora:v1", "oci://" + host + "/team/lora@" + manifests["lora"],
		"s3://bucket/lora", "s3://bucket/lora@sha256:" + goldenDigest(t, "lora"),
	} {
		entry, err := load(uri)
		require.NoError(t, err)
		require.Equal(t, goldenDigest(t, "lora"), entry.Digest)
	}
	for uri, want := range map[string]error{
		"oci://" + wrong + "/team/lora:v1":                               adapters.ErrBase,
		"oci://" + host + "/team/none:v1":                                remote.ErrNotFound,
		"s3://bucket/none":                                               remote.ErrNotFound,
		"s3://bucket/dora@sha256:" + goldenDigest(t, "lora"):             remote.ErrCorrupt,
		"oci://" + host + "/team/lora@sha256:" + goldenDigest(t, "lora"): remote.ErrNotFound,
	} {
		_, err := load(uri)
		require.ErrorIs(t, err, want, uri)
		require.ErrorContains(t, err, uri)
	}
	_, err = load("oci://" + wrong + "/team/lora:v1")
	require.ErrorContains(t, err, b.digest())
	_, err = load("oci://" + host + "/team/lora")
	require.ErrorContains(t, err, "neither a tag nor a digest")
}

// A file of llama.cpp's is served from registries, stores and the hub as it is from a
// folder: the same digest, the same answers.
func TestRemoteGGUF(t *testing.T) {
	b := tinyBase(t)
	file, err := os.ReadFile("../../testdata/goldens/llama/ggufadapters/lora.gguf")
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "lora.gguf"), file, 0o644))
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	registries, err := oci.New(oci.Config{Client: remote.Client()})
	require.NoError(t, err)
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(name, dir string, bases ...string) {
		_, err := registries.Push(t.Context(), "oci://"+host+"/"+name+":v1", oci.Pushed{Dir: dir, Bases: bases})
		require.NoError(t, err)
	}
	push("folder", folder, b.digest())
	push("file", filepath.Join(folder, "lora.gguf"))
	push("other", folder, strings.Repeat("01", 32))
	storeOf(t)
	put := func(key string) {
		request, err := http.NewRequest(http.MethodPut, os.Getenv("AWS_ENDPOINT_URL")+"/bucket/"+key, bytes.NewReader(file))
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	put("one/lora.gguf")
	put("two/a.gguf")
	put("two/b.gguf")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HF_ENDPOINT", hubOf(t, folder).URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	t.Setenv("HF_TOKEN_PATH", filepath.Join(t.TempDir(), "none"))
	c := &serveCommand{hosting: hosting{AdapterCache: t.TempDir(), UploadLimit: 1 << 20}}
	known, err := catalogue.New(b.load, catalogue.Options{Schemes: c.remotes(b, silent(), slog.New(slog.DiscardHandler)).schemes()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, known.Close()) })
	load := func(uri string) (catalogue.Entry, error) {
		require.NoError(t, known.Replace("x", uri))
		return known.Load(context.Background(), "x")
	}
	local, err := load("file://" + filepath.Join(folder, "lora.gguf"))
	require.NoError(t, err)
	for _, uri := range []string{
		"oci://" + host + "/folder:v1", "oci://" + host + "/file:v1", "s3://bucket/one", "s3://bucket/one@sha256:" + local.Digest,
		"hf://owner/name", "hf://owner/name:lora.gguf",
	} {
		entry, err := load(uri)
		require.NoError(t, err, uri)
		require.Equal(t, local.Digest, entry.Digest, uri)
	}
	for uri, want := range map[string]error{
		"oci://" + host + "/other:v1": adapters.ErrBase, "s3://bucket/two": adapters.ErrConfig, "hf://owner/name:none.gguf": hub.ErrNotFound,
	} {
		_, err := load(uri)
		require.ErrorIs(t, err, want, uri)
	}
}

// A server has the adapters of --adapters-from when it is ready, and takes others
// by lora_path from the sources of --allow-source alone.
func TestAdaptersFrom(t *testing.T) {
	host, manifests := registryOf(t, nil, "lora", "dora")
	storeOf(t, "lora")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	url, end := runServer(t, io.Discard, "--adapter-cache", t.TempDir(),
		"--adapters-from", "a=oci://"+host+"/team/lora@"+manifests["lora"], "--adapters-from", "team/b=s3://bucket/lora", "--pin", "team/b",
		"--allow-source", "oci://"+host+"/team/dora")
	defer end()
	for _, name := range []string{"a", "team/b"} {
		status, text := send(t, http.MethodPost, url+"/v1/completions", `{"model": "`+name+`", "prompt": "a b", "max_tokens": 2}`)
		require.Equal(t, http.StatusOK, status, text)
	}
	_, text := send(t, http.MethodGet, url+"/v1/adapters", "")
	require.Contains(t, text, `"resident"`)
	require.Contains(t, text, goldenDigest(t, "lora"))

	for path, want := range map[string]int{
		"oci://" + host + "/team/dora:v1": http.StatusOK, "oci://" + host + "/team/dora:none": http.StatusNotFound,
		"oci://" + host + "/team/lora:v1": http.StatusBadRequest, "s3://bucket/lora": http.StatusBadRequest,
	} {
		status, text := send(t, http.MethodPost, url+"/v1/load_lora_adapter", `{"lora_name": "c", "lora_path": "`+path+`", "load_inplace": true}`)
		require.Equal(t, want, status, "%s: %s", path, text)
		if want == http.StatusBadRequest {
			require.Contains(t, text, "--allow-source")
		}
	}
	status, text := send(t, http.MethodPost, url+"/v1/completions", `{"model": "c", "prompt": "a b", "max_tokens": 2}`)
	require.Equal(t, http.StatusOK, status, text)
}

// What cannot be served is told at the start.
func TestAdaptersFromFaults(t *testing.T) {
	host, _ := registryOf(t, []string{strings.Repeat("01", 32)}, "lora")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	dir := t.TempDir()
	require.NoError(t, layBase(filepath.Join(dir, "tiny"), "../../testdata/goldens/llama", "../../serve/testdata"))
	start := func(args ...string) (code int, says string) {
		var said bytes.Buffer
		code = run(t.Context(), append([]string{"--base", filepath.Join(dir, "tiny"), "--adapters", filepath.Join(dir, "tiny-adapters"), "--addr", "127.0.0.1:0", "--kv-cache", "1MiB", "--adapter-cache", filepath.Join(dir, "cache")}, args...),
			console{out: io.Discard, err: &said, env: os.Environ()})
		return code, said.String()
	}
	for want, args := range map[string][]string{
		`--adapters-from: "a" is not NAME=URI`:                    {"--adapters-from", "a"},
		`--adapters-from: "ftp://x": want oci://, s3:// or hf://`: {"--adapters-from", "a=ftp://x"},
		`--adapters-from: a is named twice`:                       {"--adapters-from", "a=s3://bucket/x", "--adapters-from", "a=s3://bucket/y"},
		`--adapters-from: tiny is the name of the base`:           {"--adapters-from", "tiny=s3://bucket/x"},
		`neither a tag nor a digest`:                              {"--adapters-from", "a=oci://" + host + "/team/lora"},
		`--adapters-from: lora is a folder of --adapters too`:     {"--adapters-from", "lora=oci://" + host + "/team/lora:v1"},
		`--adapters-from: adapter "a": oci://` + host + `/team/lora:v1: adapter does not fit the base: it is for the base`: {"--adapters-from", "a=oci://" + host + "/team/lora:v1"},
		`there is no such adapter`:                            {"--adapters-from", "a=oci://" + host + "/team/none:v1"},
		`--allow-source: "http://x" is no source of adapters`: {"--allow-source", "http://x"},
		`--fetch-timeout: it has to be above 0`:               {"--fetch-timeout", "0s"},
	} {
		code, says := start(args...)
		require.NotZero(t, code)
		require.Contains(t, says, want)
	}
}
