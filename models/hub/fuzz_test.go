package hub

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// reply is a hub that answers anything.
type reply struct{ listing, etag, size, location, body string }

func (r reply) RoundTrip(request *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, Request: request, Header: http.Header{}, ContentLength: -1}
	body := r.body
	if strings.HasPrefix(request.URL.Path, "/api/") {
		body = r.listing
	} else {
		response.Header.Set("ETag", r.etag)
		response.Header.Set("Content-Length", r.size)
		if r.location != "" && request.Method == http.MethodHead {
			response.StatusCode = http.StatusFound
			response.Header.Set("Location", r.location)
		}
	}
	response.Body = io.NopCloser(strings.NewReader(body))
	return response, nil
}

// FuzzFetch fetches from a hub that answers anything: whatever it says, nothing
// lies outside of the cache after it, and a snapshot has the files that it lists.
func FuzzFetch(f *testing.F) {
	const listing = `{"sha":"` + testCommit + `","siblings":[{"rfilename":"config.json"},{"rfilename":"a/b.json"}]}`
	f.Add(listing, `"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"`, "0", "", "")
	f.Add(listing, `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`, "0", "/elsewhere", "")
	f.Add(`{"sha":"`+testCommit+`","siblings":[{"rfilename":"../../x.json"}]}`, `"x"`, "1", "", "x")
	f.Add(`{"sha":"../..","siblings":[{"rfilename":"config.json"}]}`, `"../../x"`, "-1", "http://else.where/", "x")
	f.Add(`{"sha":7,"siblings":{}}`, `W/"x"`, "x", "://", "x")
	ref, err := ParseRef("hf://" + testRepo)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, listing, etag, size, location, body string) {
		root := t.TempDir()
		cache := filepath.Join(root, "cache")
		h, err := New(Config{
			Cache: cache, Endpoint: "http://hub.test", Attempts: 1, Backoff: time.Millisecond,
			Client: &http.Client{Transport: reply{listing, etag, size, location, body}},
		})
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := h.Fetch(context.Background(), ref)
		if err == nil && len(snapshot.Files) == 0 {
			t.Error("a snapshot of nothing")
		}
		err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if rest, ok := strings.CutPrefix(path, root); ok && rest != "" && rest != "/cache" && !strings.HasPrefix(rest, "/cache/") {
				err = errors.Join(err, errors.New(path+" is outside of the cache"))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
