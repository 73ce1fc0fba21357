package serve

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
)

// entry is a member of a test's archive.
type entry struct {
	name string
	kind byte // 0: a plain file
	body string
	link string
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Format: tar.FormatPAX, Name: e.name, Typeflag: e.kind, Mode: 0o777, Size: int64(len(e.body)), Linkname: e.link}
		require.NoError(t, w.WriteHeader(h))
		_, err := io.WriteString(w, e.body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstdOf(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func gzipOf(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

var good = []entry{{name: "adapter_config.json", body: "{}"}, {name: "adapter_model.safetensors", body: "weights"}, {name: "README.md"}}

func unpackInto(dir string, archive io.Reader, limits archiveLimits) error {
	return (&unpacking{dir: dir, limits: limits}).unpack(archive)
}

func TestUnpack(t *testing.T) {
	for name, pack := range map[string]func(testing.TB, []byte) []byte{"zstd": zstdOf, "gzip": gzipOf} {
		dir := t.TempDir()
		require.NoError(t, unpackInto(dir, bytes.NewReader(pack(t, tarOf(t, append(good, entry{name: "sub/", kind: tar.TypeDir}, entry{name: "./sub/x/y", body: "deep"})...))), archiveLimits{1000, 10, 4}), name)
		text, err := os.ReadFile(filepath.Join(dir, "sub/x/y"))
		require.NoError(t, err)
		require.Equal(t, "deep", string(text))
	}
}

func TestHostileArchives(t *testing.T) {
	outside := t.TempDir()
	many := make([]entry, 12)
	for i := range many {
		many[i].name = fmt.Sprint("f", i)
	}
	for want, entries := range map[string][]entry{
		`entry "../../evil" leads out of the adapter's folder`:             {{name: "../../evil", body: "x"}},
		`entry "a/../../evil" leads out of the adapter's folder`:           {{name: "a/../../evil", body: "x"}},
		`entry "/etc/evil" has an absolute path`:                           {{name: "/etc/evil", body: "x"}},
		`entry "..\\evil" is not a usable name for a file`:                 {{name: `..\evil`, body: "x"}},
		`entry "C:evil" is not a usable name for a file`:                   {{name: `C:evil`, body: "x"}},
		`entry "link" is a symbolic link: an adapter has only plain files`: {{name: "link", kind: tar.TypeSymlink, link: outside}, {name: "link/evil", body: "x"}},
		`entry "hard" is a hard link`:                                      {{name: "hard", kind: tar.TypeLink, link: "/etc/passwd"}},
		`entry "dev" is a device`:                                          {{name: "dev", kind: tar.TypeChar}},
		`entry "pipe" is a pipe`:                                           {{name: "pipe", kind: tar.TypeFifo}},
		`entry "f10" is one too many: an adapter has at most 10 files`:     many,
		`entry "./a" is in the archive twice`:                              {{name: "a"}, {name: "./a"}},
		`entry "a/b" cannot be put into a`:                                 {{name: "a"}, {name: "a/b"}},
		`entry "a/b/c/d/e/f" lies more than 4 folders deep`:                {{name: "a/b/c/d/e/f"}},
		`unpacks to more than 1000 bytes at entry "big"`:                   {{name: "big", body: strings.Repeat("0", 1001)}},
		`unpacks to more than 1000 bytes at entry "second"`:                {{name: "first", body: strings.Repeat("0", 600)}, {name: "second", body: strings.Repeat("0", 600)}},
		`entry "." is not a usable name for a file`:                        {{name: "."}},
	} {
		dir := filepath.Join(t.TempDir(), "in")
		require.NoError(t, os.Mkdir(dir, 0o755))
		err := unpackInto(dir, bytes.NewReader(gzipOf(t, tarOf(t, entries...))), archiveLimits{1000, 10, 4})
		require.ErrorContains(t, err, want)
		f := failureOf(err)
		require.True(t, f.status >= 400 && f.status < 500, "%d %s", f.status, want)
		require.NotContains(t, err.Error(), dir)
		above, err := os.ReadDir(filepath.Dir(dir))
		require.NoError(t, err)
		require.Len(t, above, 1, "nothing is written outside")
	}
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)

	whole := gzipOf(t, tarOf(t, good...))
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-8] ^= 1
	for want, archive := range map[string][]byte{
		"neither .tar.zst nor .tar.gz": []byte("PK\x03\x04zip"),
		"cannot be read":               whole[:len(whole)/2],
		"neither .tar.zst":             {},
		"read: unexpected EOF":         whole[:len(whole)-4],
		"invalid checksum":             damaged,
		"follow its last entry":        gzipOf(t, append(tarOf(t, good...), make([]byte, maxTail+1)...)),
		"the archive cannot be read":   gzipOf(t, []byte(strings.Repeat("not a tar", 100))),
	} {
		err := unpackInto(t.TempDir(), bytes.NewReader(archive), archiveLimits{1000, 10, 4})
		require.ErrorContains(t, err, want)
		f := failureOf(err)
		require.True(t, f.status >= 400 && f.status < 500)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, good...))
	f.Add(tarOf(f, entry{name: "../x", body: "y"}))
	f.Add(tarOf(f, entry{name: "l", kind: tar.TypeSymlink, link: "/"}, entry{name: "l/x"}))
	f.Add(tarOf(f, entry{name: "a/b/", kind: tar.TypeDir}, entry{name: "a/b/c", body: "x"}, entry{name: "a"}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		above, err := os.MkdirTemp("", "unpack")
		require.NoError(t, err)
		defer os.RemoveAll(above)
		dir := filepath.Join(above, "in")
		require.NoError(t, os.Mkdir(dir, 0o755))
		_ = (&unpacking{dir: dir, limits: archiveLimits{4096, 16, 4}}).unpackTar(bytes.NewReader(archive))
		entries, err := os.ReadDir(above)
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing is written outside")
		total := int64(0)
		require.NoError(t, filepath.Walk(dir, func(_ string, stat os.FileInfo, err error) error {
			require.NoError(t, err)
			require.True(t, stat.Mode().IsDir() || stat.Mode().IsRegular())
			if stat.Mode().IsRegular() {
				total += stat.Size()
			}
			return nil
		}))
		require.LessOrEqual(t, total, int64(4097))
	})
}

func TestPutAdapter(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, func(c *Config, _ *Parts) { c.Adapters, c.Limits.UploadLimit = dir, 1<<20 })
	put := func(name string, archive []byte) answer {
		return s.send(t, http.MethodPut, "/v1/adapters/"+name, string(archive))
	}

	got := put("mine", zstdOf(t, tarOf(t, good...)))
	require.Equal(t, http.StatusCreated, got.status, got.body)
	require.Equal(t, "digest-of-upload", got.header.Get("X-Adapter-Digest"))
	require.JSONEq(t, `{"name":"mine","state":"resident","source":"`+dir+`/mine","digest":"digest-of-upload","method":"lora","rank":8,"bytes":2000,"pinned":false,"references":0}`, got.body)
	require.FileExists(t, filepath.Join(dir, "mine/adapter_model.safetensors"))

	// One that does not say how large it is is cut where it becomes too large.
	noise := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for _, pack := range []func(testing.TB, []byte) []byte{zstdOf, gzipOf} {
		body := pack(t, tarOf(t, entry{name: "adapter_config.json", body: string(noise)}))
		request, err := http.NewRequest(http.MethodPut, s.url+"/v1/adapters/large", io.MultiReader(bytes.NewReader(body)))
		require.NoError(t, err)
		response, err := s.client.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode, string(text))
		require.Contains(t, string(text), "--upload-limit")
	}

	// What could never be loaded is not published.
	s.catalogue.budget = 1999
	got = put("huge", gzipOf(t, tarOf(t, good...)))
	s.catalogue.budget = 0
	require.Equal(t, http.StatusUnprocessableEntity, got.status, got.body)
	require.Contains(t, got.body, `"code":"adapter_too_large"`)
	require.NoDirExists(t, filepath.Join(dir, "huge"))

	// The next version replaces it; a folder around the files is fine.
	wrapped := []entry{{name: "out/", kind: tar.TypeDir}, {name: "out/adapter_config.json", body: "{}"}, {name: "out/new", body: "new"}}
	got = put("mine", gzipOf(t, tarOf(t, wrapped...)))
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.FileExists(t, filepath.Join(dir, "mine/new"))
	require.NoFileExists(t, filepath.Join(dir, "mine/adapter_model.safetensors"))

	// One that does not load changes nothing, and says why without our paths.
	got = put("mine", gzipOf(t, tarOf(t, append(good, entry{name: "broken"})...)))
	require.Equal(t, http.StatusUnprocessableEntity, got.status)
	require.Contains(t, got.body, `adapter \"mine\" is refused: adapter_model.safetensors: lora_B.weight is missing`)
	require.FileExists(t, filepath.Join(dir, "mine/new"))

	// What is no adapter is not for an upload to replace.
	require.NoError(t, os.Mkdir(filepath.Join(dir, "notes"), 0o755))
	got = put("notes", gzipOf(t, tarOf(t, good...)))
	require.Equal(t, http.StatusConflict, got.status, got.body)
	require.Contains(t, got.body, `\"notes\" in the adapters' folder is no adapter`)
	require.NoError(t, os.Remove(filepath.Join(dir, "notes")))

	// Nor is what a training run writes to, though an uploaded copy of it is.
	run := append(slices.Clone(good), entry{name: adapters.RunMark, body: "{}"})
	require.Equal(t, http.StatusCreated, put("run", gzipOf(t, tarOf(t, run...))).status)
	require.Equal(t, http.StatusOK, put("run", gzipOf(t, tarOf(t, run...))).status)
	require.NoError(t, os.Remove(filepath.Join(dir, "run", markFile)))
	got = put("run", gzipOf(t, tarOf(t, good...)))
	require.Equal(t, http.StatusConflict, got.status, got.body)
	require.Contains(t, got.body, `\"run\" in the adapters' folder is where peft-train writes to (peft-train.json)`)
	require.FileExists(t, filepath.Join(dir, "run", adapters.RunMark))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "run")))
	require.Equal(t, `"`+dir+`"`, member(t, s.get(t, "/v1/adapters").body, "folder"))

	require.Equal(t, http.StatusBadRequest, put(".hidden", nil).status)
	require.Equal(t, http.StatusBadRequest, put("base-model", nil).status)
	require.Equal(t, http.StatusBadRequest, put("org%2Fname", nil).status)
	require.Equal(t, http.StatusUnprocessableEntity, put("other", gzipOf(t, tarOf(t, entry{name: "x"}))).status)
	require.Equal(t, http.StatusUnsupportedMediaType, put("other", []byte("hello")).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, put("other", make([]byte, 2<<20)).status)

	got = s.send(t, http.MethodDelete, "/v1/adapters/mine", "")
	require.Equal(t, http.StatusNoContent, got.status)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing half done is left, and deleted files are gone")
	require.Equal(t, http.StatusNotFound, s.get(t, "/v1/adapters/mine").status)
}

func TestPutNeedsAFolder(t *testing.T) {
	s := newSite(t, nil)
	got := s.send(t, http.MethodPut, "/v1/adapters/x", string(gzipOf(t, tarOf(t, good...))))
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "start it with --adapters")
	s = newSite(t, func(c *Config, p *Parts) { c.ReadOnly = true })
	require.Equal(t, http.StatusForbidden, s.send(t, http.MethodPut, "/v1/adapters/x", "").status)
	s = newSite(t, func(c *Config, p *Parts) { p.Catalogue = nil })
	require.Equal(t, http.StatusNotFound, s.send(t, http.MethodPut, "/v1/adapters/x", "").status)
	require.Equal(t, http.StatusNotFound, s.post(t, "/v1/completions", `{"prompt":"a","model":"sql"}`).status)
}
