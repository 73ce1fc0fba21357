package hub

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var model = map[string]string{
	"README.md": "of a license", "CHANGES.md": "not needed", "config.json": `{"a":1}`, "tokenizer.json": `{"b":2}`,
	"model.safetensors": strings.Repeat("weights ", 1000), "pytorch_model.bin": "the same again",
	"onnx/model.onnx": "no", "model-Q8_0.gguf": strings.Repeat("gguf", 99), "original/consolidated.safetensors": "no",
}

var modelFiles = []string{"README.md", "config.json", "model.safetensors", "tokenizer.json"}

func fetch(t *testing.T, c Config, ref string) (Snapshot, error) {
	t.Helper()
	parsed, err := ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h.Fetch(context.Background(), parsed)
}

// verifyFiles demands that a snapshot holds exactly files, whole.
func verifyFiles(t *testing.T, f *fake, s Snapshot, files ...string) {
	t.Helper()
	if !slices.Equal(s.Files, files) {
		t.Errorf("files %q, want %q", s.Files, files)
	}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(s.Dir, file))
		if err != nil || string(b) != f.files[file] {
			t.Errorf("%s: %d bytes, want %d, %v", file, len(b), len(f.files[file]), err)
		}
	}
}

// verifyNothing demands that no file of a cache has a name that a reader
// would take for whole.
func verifyNothing(t *testing.T, cache, file string) {
	t.Helper()
	for _, pattern := range []string{"models--*/snapshots/*/" + file, "models--*/blobs/*"} {
		found, _ := filepath.Glob(filepath.Join(cache, pattern))
		for _, path := range found {
			if !strings.HasSuffix(path, ".incomplete") {
				t.Errorf("%s is there", path)
			}
		}
	}
}

func TestFetchModel(t *testing.T) {
	f := newFake(t, model)
	c := f.config(t)
	s, err := fetch(t, c, "hf://owner/name")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, modelFiles...)
	folder := filepath.Join(c.Cache, "models--owner--name")
	if want := filepath.Join(folder, "snapshots", testCommit); s.Dir != want || s.Path() != want || s.Commit != testCommit || s.Stale != nil {
		t.Errorf("%+v, want %s", s, want)
	}
	if b, err := os.ReadFile(filepath.Join(folder, "refs/main")); err != nil || string(b) != testCommit {
		t.Errorf("refs/main: %q, %v", b, err)
	}
	target, err := os.Readlink(filepath.Join(s.Dir, "model.safetensors"))
	if want := filepath.Join("..", "..", "blobs", f.etag("model.safetensors")); err != nil || target != want {
		t.Errorf("link to %q, want %q, %v", target, want, err)
	}
	if f.asked("GET /model.safetensors") != 1 || f.asked("GET /"+testRepo+"/resolve/"+testCommit+"/CHANGES.md") != 0 {
		t.Errorf("requests %q", f.requests)
	}

	before := len(f.requests)
	if s, err = fetch(t, c, "hf://owner/name"); err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, modelFiles...)
	if n := len(f.requests) - before; n != 1 {
		t.Errorf("%d requests for what is there: %q", n, f.requests[before:])
	}
}

// What makes the embeddings of a base comes with it, from the folders that its own list
// names, and is there without a network.
func TestFetchModules(t *testing.T) {
	files := map[string]string{
		"modules.json":              `[{"idx":0,"path":"","type":"a.Transformer"},{"idx":1,"path":"1_Pooling","type":"a.Pooling"},{"idx":2,"path":"2_Dense","type":"a.Dense"}]`,
		"sentence_bert_config.json": `{"max_seq_length":9}`, "config_sentence_transformers.json": `{"prompts":{}}`,
		"1_Pooling/config.json": `{"pooling_mode":"cls"}`, "2_Dense/config.json": `{"in_features":4}`, "2_Dense/model.safetensors": "weights", "3_Other/config.json": "{}",
	}
	maps.Copy(files, model)
	f := newFake(t, files)
	c := f.config(t)
	want := slices.Sorted(slices.Values(append([]string{
		"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
	}, modelFiles...)))
	for _, c.Offline = range []bool{false, true} {
		s, err := fetch(t, c, "hf://owner/name")
		if err != nil {
			t.Fatal(err)
		}
		verifyFiles(t, f, s, want...)
	}
}

func TestFetchFile(t *testing.T) {
	f := newFake(t, model)
	c := f.config(t)
	s, err := fetch(t, c, "hf://owner/name@refs/pr/1:model-Q8_0.gguf")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, "model-Q8_0.gguf")
	if s.Path() != filepath.Join(s.Dir, "model-Q8_0.gguf") {
		t.Errorf("path %s", s.Path())
	}
	if f.asked("GET /api/models/owner/name/revision/refs%2Fpr%2F1") != 1 {
		t.Errorf("requests %q", f.requests)
	}
	if b, _ := os.ReadFile(filepath.Join(c.Cache, "models--owner--name/refs/refs/pr/1")); string(b) != testCommit {
		t.Errorf("the ref holds %q", b)
	}
	before := len(f.requests)
	if _, err := fetch(t, c, "hf://owner/name@"+testCommit+":model-Q8_0.gguf"); err != nil || len(f.requests) != before {
		t.Errorf("a commit's file was asked for again: %q, %v", f.requests[before:], err)
	}
	s, err = fetch(t, c, "hf://owner/name:original/consolidated.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, "original/consolidated.safetensors")
}

func TestCutIsResumed(t *testing.T) {
	f := newFake(t, model)
	f.cuts = []int{100, 50, 0}
	s, err := fetch(t, f.config(t), "hf://owner/name:model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, "model.safetensors")
	for _, want := range []string{"bytes=100-", "bytes=150-"} {
		if f.asked("GET /model.safetensors "+want) == 0 {
			t.Errorf("no request with %s: %q", want, f.requests)
		}
	}
}

func TestCutForGood(t *testing.T) {
	f := newFake(t, model)
	c := f.config(t)
	c.Attempts = 3
	f.cuts = []int{10, 10, 10}
	_, err := fetch(t, c, "hf://owner/name:model.safetensors")
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"owner/name", "revision main", "model.safetensors", "3 attempts", "byte 30"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	verifyNothing(t, c.Cache, "model.safetensors")

	// A later process goes on where this one stopped.
	s, err := fetch(t, c, "hf://owner/name:model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, "model.safetensors")
	if f.asked("GET /model.safetensors bytes=30-") != 1 {
		t.Errorf("requests %q", f.requests)
	}
}

func TestStallIsCut(t *testing.T) {
	f := newFake(t, model)
	f.cuts, f.stalls = []int{100}, true
	c := f.config(t)
	c.Idle = 50 * time.Millisecond
	s, err := fetch(t, c, "hf://owner/name:model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, "model.safetensors")
}

func TestServerWithoutRanges(t *testing.T) {
	f := newFake(t, model)
	f.cuts, f.ignores = []int{100, 200}, true
	s, err := fetch(t, f.config(t), "hf://owner/name:model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, "model.safetensors")
}

func TestPartialFilesOfAnotherTime(t *testing.T) {
	whole := model["model.safetensors"]
	for name, partial := range map[string]string{
		"wrong": "rubbish", "whole": whole, "whole and wrong": strings.Repeat("x", len(whole)), "too long": whole + "x",
	} {
		f := newFake(t, model)
		c := f.config(t)
		path := filepath.Join(c.Cache, "models--owner--name/blobs", f.etag("model.safetensors")+".incomplete")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(partial), 0o600)); err != nil {
			t.Fatal(err)
		}
		s, err := fetch(t, c, "hf://owner/name:model.safetensors")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		verifyFiles(t, f, s, "model.safetensors")
		if name == "whole" && f.asked("GET /model.safetensors") != 0 {
			t.Errorf("a whole file was asked for: %q", f.requests)
		}
	}
}

func TestWrongDigest(t *testing.T) {
	for file, etag := range map[string]string{
		"model.safetensors": strings.Repeat("ab", 32), "config.json": strings.Repeat("cd", 20),
	} {
		f := newFake(t, model)
		f.etags[file] = etag
		c := f.config(t)
		_, err := fetch(t, c, "hf://owner/name:"+file)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), etag) {
			t.Errorf("%s: got %v", file, err)
		}
		verifyNothing(t, c.Cache, file)
	}
}

func TestEtagThatCannotBeVerified(t *testing.T) {
	for _, etag := range []string{"", "abc", "../../../../evil", strings.Repeat("zz", 32)} {
		f := newFake(t, model)
		f.etags["model.safetensors"] = etag
		c := f.config(t)
		if _, err := fetch(t, c, "hf://owner/name:model.safetensors"); !errors.Is(err, ErrReply) {
			t.Errorf("%q: got %v", etag, err)
		}
		verifyNothing(t, c.Cache, "model.safetensors")
	}
}

func TestRetriesAreBounded(t *testing.T) {
	f := newFake(t, model)
	f.broken = 4
	if _, err := fetch(t, f.config(t), "hf://owner/name:config.json"); err != nil {
		t.Fatal(err)
	}
	f.broken = 1000
	before := len(f.requests)
	_, err := fetch(t, f.config(t), "hf://owner/name:config.json")
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "503") || len(f.requests)-before != 5 {
		t.Errorf("%d requests, %v", len(f.requests)-before, err)
	}
}

func TestToken(t *testing.T) {
	f := newFake(t, model)
	f.private = true
	c := f.config(t)
	_, err := fetch(t, c, "hf://owner/name")
	if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "HF_TOKEN") || !strings.Contains(err.Error(), "terms") || len(f.requests) != 1 {
		t.Errorf("after %d requests: %v", len(f.requests), err)
	}
	c.Token = testToken
	s, err := fetch(t, c, "hf://owner/name")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, modelFiles...)
	if f.leaked {
		t.Error("the token went to another host")
	}
}

func TestNotFound(t *testing.T) {
	f := newFake(t, model)
	for ref, want := range map[string]string{
		"hf://owner/other":          "owner/other",
		"hf://owner/name@v9":        "revision v9",
		"hf://owner/name:gone.gguf": "gone.gguf",
	} {
		if _, err := fetch(t, f.config(t), ref); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", ref, err)
		}
	}
}

func TestOffline(t *testing.T) {
	f := newFake(t, model)
	c := f.config(t)
	offline := c
	offline.Offline = true
	if _, err := fetch(t, offline, "hf://owner/name"); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "owner/name") {
		t.Errorf("got %v", err)
	}
	if _, err := fetch(t, c, "hf://owner/name"); err != nil {
		t.Fatal(err)
	}
	before := len(f.requests)
	for _, ref := range []string{"hf://owner/name", "hf://owner/name@" + testCommit} {
		s, err := fetch(t, offline, ref)
		if err != nil {
			t.Fatal(err)
		}
		verifyFiles(t, f, s, modelFiles...)
	}
	if _, err := fetch(t, offline, "hf://owner/name:model-Q8_0.gguf"); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "model-Q8_0.gguf") {
		t.Errorf("got %v", err)
	}
	if len(f.requests) != before {
		t.Errorf("requests while offline: %q", f.requests[before:])
	}

	// A hub that is down is like being offline, but says so.
	f.broken = 1000
	s, err := fetch(t, c, "hf://owner/name")
	if err != nil || !errors.Is(s.Stale, ErrUnreachable) {
		t.Errorf("%v, stale: %v", err, s.Stale)
	}
	verifyFiles(t, f, s, modelFiles...)
}

func TestOfflineWithAShardMissing(t *testing.T) {
	files := maps.Clone(model)
	delete(files, "model.safetensors")
	files["model-00001-of-00002.safetensors"] = "one"
	files["model-00002-of-00002.safetensors"] = "two"
	files["model.safetensors.index.json"] = `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`
	f := newFake(t, files)
	c := f.config(t)
	s, err := fetch(t, c, "hf://owner/name")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, "model-00002-of-00002.safetensors")); err != nil {
		t.Fatal(err)
	}
	c.Offline = true
	if _, err := fetch(t, c, "hf://owner/name"); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "model-00002") {
		t.Errorf("got %v", err)
	}
}

func TestNewCommit(t *testing.T) {
	f := newFake(t, maps.Clone(model))
	c := f.config(t)
	old, err := fetch(t, c, "hf://owner/name")
	if err != nil {
		t.Fatal(err)
	}
	f.commit = strings.Repeat("f", 40)
	f.files["config.json"] = "changed"
	s, err := fetch(t, c, "hf://owner/name")
	if err != nil {
		t.Fatal(err)
	}
	verifyFiles(t, f, s, modelFiles...)
	if f.asked("GET /model.safetensors") != 1 {
		t.Errorf("an unchanged file was fetched again: %q", f.requests)
	}
	if b, _ := os.ReadFile(filepath.Join(old.Dir, "config.json")); string(b) != model["config.json"] {
		t.Errorf("the old commit's config is %q", b)
	}
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{"../../evil.safetensors", "/etc/evil.safetensors", `..\evil.safetensors`, "a/../../evil.safetensors"} {
		f := newFake(t, map[string]string{name: "x", "config.json": "{}"})
		if _, err := fetch(t, f.config(t), "hf://owner/name"); !errors.Is(err, ErrReply) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// TestConcurrentFetches has several Hubs, as of several processes, fetch the
// same files at once: each is transferred once.
func TestConcurrentFetches(t *testing.T) {
	f := newFake(t, model)
	c := f.config(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			s, err := fetch(t, c, "hf://owner/name")
			if err != nil {
				t.Error(err)
				return
			}
			verifyFiles(t, f, s, modelFiles...)
		})
	}
	all.Wait()
	if n := f.asked("GET /model.safetensors"); n != 1 {
		t.Errorf("model.safetensors was transferred %d times", n)
	}
}

func TestCancel(t *testing.T) {
	f := newFake(t, model)
	f.cuts, f.stalls = []int{100}, true
	h, err := New(f.config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	ref := Ref{Repo: testRepo, File: "model.safetensors"}
	if _, err := h.Fetch(ctx, ref); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestProgress(t *testing.T) {
	f := newFake(t, model)
	f.cuts = []int{100}
	c := f.config(t)
	var told []Progress
	c.Progress = func(p Progress) { told = append(told, p) }
	if _, err := fetch(t, c, "hf://owner/name:model.safetensors"); err != nil {
		t.Fatal(err)
	}
	size := int64(len(model["model.safetensors"]))
	first, last := told[0], told[len(told)-1]
	if first != (Progress{testRepo, "model.safetensors", 0, size}) || last != (Progress{testRepo, "model.safetensors", size, size}) {
		t.Errorf("%+v", told)
	}
}

// TestUnknownHost: where nobody knows the hub there is no second attempt, what to
// do is told, and what is in the cache is used.
func TestUnknownHost(t *testing.T) {
	c := newFake(t, model).config(t)
	if _, err := fetch(t, c, "hf://owner/name"); err != nil {
		t.Fatal(err)
	}
	asked := 0
	c.Endpoint, c.Waiting = "http://hub.invalid", func(error, time.Duration) { t.Error("it waits") }
	c.Client = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		asked++
		return nil, &net.DNSError{Err: "no such host", Name: "hub.invalid", IsNotFound: true}
	})}
	if s, err := fetch(t, c, "hf://owner/name"); err != nil || !errors.Is(s.Stale, ErrUnreachable) {
		t.Errorf("%v, %v", s.Stale, err)
	}
	c.Cache = t.TempDir()
	_, err := fetch(t, c, "hf://owner/name")
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") || !strings.Contains(err.Error(), "http://hub.invalid") || asked != 2 {
		t.Errorf("%d requests: %v", asked, err)
	}
}

// TestWaitingIsTold: whoever waits for another attempt knows why, and how long.
func TestWaitingIsTold(t *testing.T) {
	c := newFake(t, model).config(t)
	var waits []time.Duration
	c.Attempts, c.Waiting = 3, func(err error, wait time.Duration) {
		if !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		waits = append(waits, wait)
	}
	c.Client = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })}
	if _, err := fetch(t, c, "hf://owner/name"); !errors.Is(err, ErrUnreachable) || !slices.Equal(waits, []time.Duration{c.Backoff, 2 * c.Backoff}) {
		t.Errorf("%v: %v", waits, err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
