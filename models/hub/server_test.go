package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testRepo   = "owner/name"
	testCommit = "0123456789abcdef0123456789abcdef01234567"
	testToken  = "hf_secret"
)

// fake speaks the hub's API for one repository, its large files (*.safetensors,
// *.gguf) served from another host as the real one does.
type fake struct {
	hub, cdn *httptest.Server
	files    map[string]string

	mu       sync.Mutex
	commit   string
	private  bool
	requests []string          // method, path and range, in order
	cuts     []int             // bytes after which the next transfers are cut
	broken   int               // answers of 503 to come
	etags    map[string]string // told instead of the true ones
	ignores  bool              // Range
	stalls   bool              // instead of cutting
	leaked   bool              // the token came to the cdn
}

func newFake(t *testing.T, files map[string]string) *fake {
	f := &fake{files: files, commit: testCommit, etags: map[string]string{}}
	f.cdn = httptest.NewServer(http.HandlerFunc(f.serveCDN))
	f.hub = httptest.NewServer(http.HandlerFunc(f.serveHub))
	t.Cleanup(func() { f.hub.Close(); f.cdn.Close() })
	return f
}

// config is that of a Hub of f with a fresh cache.
func (f *fake) config(t *testing.T) Config {
	return Config{Cache: t.TempDir(), Endpoint: f.hub.URL, Backoff: time.Millisecond, Idle: 5 * time.Second}
}

func (f *fake) note(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Range")))
}

func (f *fake) asked(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, request := range f.requests {
		if strings.HasPrefix(request, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) serveHub(w http.ResponseWriter, r *http.Request) {
	f.note(r)
	f.mu.Lock()
	broken, commit := f.broken > 0, f.commit
	if broken {
		f.broken--
	}
	f.mu.Unlock()
	fail := func(status int, code, message string) {
		w.Header().Set("X-Error-Code", code)
		w.Header().Set("X-Error-Message", message)
		w.WriteHeader(status)
	}
	if broken {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if f.private && r.Header.Get("Authorization") != "Bearer "+testToken {
		fail(http.StatusUnauthorized, "GatedRepo", "Access to model owner/name is restricted.")
		return
	}
	if revision, ok := strings.CutPrefix(r.URL.Path, "/api/models/"+testRepo+"/revision/"); ok {
		if revision != "main" && revision != commit && revision != "refs/pr/1" {
			fail(http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
			return
		}
		type sibling struct {
			Name string `json:"rfilename"`
		}
		var siblings []sibling
		for name := range f.files {
			siblings = append(siblings, sibling{name})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": testRepo, "sha": commit, "siblings": siblings})
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/renamed/"); ok { // where small files have moved to
		f.serveFile(w, r, rest)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/"+testRepo+"/resolve/"+commit+"/")
	body, there := f.files[name]
	if !ok || !there {
		fail(http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if large(name) {
		w.Header().Set("X-Linked-Etag", `"`+f.etag(name)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(body)))
		http.Redirect(w, r, f.cdn.URL+"/"+name, http.StatusFound)
		return
	}
	w.Header().Set("Location", "/renamed/"+name)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (f *fake) serveCDN(w http.ResponseWriter, r *http.Request) {
	f.note(r)
	if r.Header.Get("Authorization") != "" {
		f.leaked = true
	}
	f.serveFile(w, r, strings.TrimPrefix(r.URL.Path, "/"))
}

func (f *fake) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	body := f.files[name]
	w.Header().Set("ETag", `W/"`+f.etag(name)+`"`)
	status, from := http.StatusOK, 0
	if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 && err == nil && !f.ignores {
		if from >= len(body) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		body = body[from:]
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	f.mu.Lock()
	cut := -1
	if len(f.cuts) > 0 {
		cut, f.cuts = f.cuts[0], f.cuts[1:]
	}
	f.mu.Unlock()
	if cut < 0 || cut >= len(body) {
		_, _ = w.Write([]byte(body))
		return
	}
	_, _ = w.Write([]byte(body[:cut]))
	w.(http.Flusher).Flush()
	if f.stalls {
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler) // cuts the connection
}

func large(name string) bool {
	return strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".gguf") || strings.HasSuffix(name, ".bin")
}

func (f *fake) etag(name string) string {
	if told, ok := f.etags[name]; ok {
		return told
	}
	body := f.files[name]
	if large(name) {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	}
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(body), body)))
}
