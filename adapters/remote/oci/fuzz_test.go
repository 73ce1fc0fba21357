package oci

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
)

// reply is a registry that answers anything.
type reply struct{ manifest, blob string }

func (r reply) RoundTrip(request *http.Request) (*http.Response, error) {
	text := r.blob
	response := &http.Response{StatusCode: http.StatusOK, Request: request, Header: http.Header{"Content-Type": {ocispec.MediaTypeImageManifest}}}
	if strings.Contains(request.URL.Path, "/manifests/") {
		text = r.manifest
	}
	response.ContentLength, response.Body = int64(len(text)), io.NopCloser(strings.NewReader(text))
	return response, nil
}

// FuzzFetch fetches from a registry that answers anything: whatever it says,
// nothing lies outside of the store, and in it nothing but an adapter's files.
func FuzzFetch(f *testing.F) {
	const one = `{"layers":[{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"org.opencontainers.image.title":"TITLE"}}]}`
	for _, title := range []string{"adapter_config.json", "../adapter_config.json", "/x", "tokenizer/../../x", "additional_chat_templates/a.jinja", ".artefact.json", "tokenizer\\\\..\\\\x"} {
		f.Add(strings.Replace(one, "TITLE", title, 1), "{}")
	}
	f.Add(`{"layers":[{}],"annotations":{"io.github.peft-serve.base.digests":",a"}}`, "")
	f.Fuzz(func(t *testing.T, manifest, blob string) {
		root := t.TempDir()
		r, err := New(Config{Client: &http.Client{Transport: reply{manifest, blob}}})
		if err != nil {
			t.Fatal(err)
		}
		store := remote.New(remote.Config{Dir: filepath.Join(root, "store"), Limit: 1 << 20, Attempts: 1, Backoff: time.Millisecond})
		fetched, err := store.Fetch(context.Background(), r, "oci://r.test/a:v1")
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, walk error) error {
			name, _ := filepath.Rel(fetched.Dir, path)
			within := fetched.Dir != "" && filepath.IsLocal(name)
			place, _ := filepath.Rel(root, path)
			switch {
			case walk != nil || d.IsDir():
				return walk
			case within && !adapters.IsFile(filepath.ToSlash(name)) && name != ".artefact.json":
				t.Errorf("%q is in the adapter's folder", name)
			case !within && !strings.HasPrefix(place, "store/locks/") && !strings.HasPrefix(place, "store/refs/"):
				t.Errorf("%q is outside of the adapter's folder (%v)", place, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
