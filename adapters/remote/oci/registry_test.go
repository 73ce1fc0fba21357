package oci

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/adapters/remote/remotetest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// server is a registry of the tests.
type server struct{ *remotetest.Server }

func newServer(t *testing.T) *server {
	return &server{remotetest.New(t, registry.New(registry.Logger(log.New(io.Discard, "", 0))))}
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) uri(rest string) string { return Scheme + s.host() + "/team/a" + rest }

// count is how many requests there were, as in "GET /v2/team/a/manifests/v1", that
// contain a text; it forgets them.
func (s *server) count(text string) (n int) {
	for _, r := range s.Asked() {
		if strings.Contains(r.Method+" "+r.URL.Path, text) {
			n++
		}
	}
	s.Forget()
	return n
}

// The digests of two bases.
var baseA, baseB = strings.Repeat("0a", 32), strings.Repeat("0b", 32)

func registries(t *testing.T, c Config) *Registries {
	t.Helper()
	if c.Client == nil {
		c.Client = remote.Client()
	}
	r, err := New(c)
	require.NoError(t, err)
	return r
}

func storeOf(t *testing.T, change func(*remote.Config)) (*remote.Store, string) {
	c := remote.Config{Dir: filepath.Join(t.TempDir(), "store"), Limit: 1 << 20, Attempts: 2, Backoff: time.Millisecond}
	if change != nil {
		change(&c)
	}
	return remote.New(c), c.Dir
}

// lora is a golden adapter with a chat template, and what a run leaves beside.
func lora(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(modeltest.Goldens(t, "llama", "adapters", "lora"))))
	for name, text := range map[string]string{
		"additional_chat_templates/tool_use.jinja": "{{ messages }}", "README.md": "# Card", "peft-train.json": "{}", "checkpoint/state": "no", "metrics.jsonl": "no",
	} {
		place := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o755))
		require.NoError(t, os.WriteFile(place, []byte(text), 0o644))
	}
	return dir
}

// An adapter with a head keeps the names of its classes, and with them its digest.
func TestHeadsKeepTheirClasses(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(modeltest.Goldens(t, "heads", "bert", "text"))))
	nameless := digestOf(t, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"id2label":{"0":"bad","1":"so so","2":"good"},"problem_type":"multi_label_classification"}`), 0o644))
	require.NotEqual(t, nameless, digestOf(t, dir))
	r := registries(t, Config{})
	_, err := r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: dir, Digest: digestOf(t, dir)})
	require.NoError(t, err)
	store, _ := storeOf(t, nil)
	f, err := store.Fetch(t.Context(), r, s.uri(":v1"))
	require.NoError(t, err)
	got, err := adapters.Open(f.Dir)
	require.NoError(t, err)
	require.Equal(t, digestOf(t, dir), got.Digest())
	require.Equal(t, &models.Classes{Names: []string{"bad", "so so", "good"}, Problem: models.MultiLabel}, got.Config.Classes)
}

func digestOf(t *testing.T, dir string) string {
	t.Helper()
	f, err := adapters.Open(dir)
	require.NoError(t, err)
	return f.Digest()
}

func TestPushAndFetch(t *testing.T) {
	s, dir := newServer(t), lora(t)
	r := registries(t, Config{})
	pushed := Pushed{Dir: dir, Digest: "own", BaseName: "owner/base", Bases: []string{baseB, baseA, baseB}}
	var last remote.Progress
	pushed.Progress = func(p remote.Progress) { last = p }
	manifest, err := r.Push(t.Context(), s.uri(":v1"), pushed)
	require.NoError(t, err)
	require.NotZero(t, s.count("PUT"))
	require.Equal(t, last.Size, last.Done)

	response, err := http.Get(s.URL + "/v2/team/a/manifests/v1")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var m ocispec.Manifest
	require.NoError(t, json.NewDecoder(response.Body).Decode(&m))
	require.Equal(t, ArtifactType, m.ArtifactType)
	require.Equal(t, map[string]string{AdapterAnnotation: "own", BaseNameAnnotation: "owner/base", BasesAnnotation: baseA + "," + baseB}, m.Annotations)
	var titles []string
	for _, layer := range m.Layers {
		titles = append(titles, layer.Annotations[ocispec.AnnotationTitle])
	}
	require.Equal(t, []string{"README.md", "adapter_config.json", "adapter_model.safetensors", "additional_chat_templates/tool_use.jinja"}, titles)

	again, err := r.Push(t.Context(), s.uri(":v2"), pushed)
	require.NoError(t, err)
	require.Equal(t, manifest, again, "the same files and bases have the same digest")
	require.Equal(t, 1, s.count("PUT"), "the manifest alone")

	var known []remote.Described
	store, _ := storeOf(t, func(c *remote.Config) {
		c.Suits = func(d remote.Described) error { known = append(known, d); return nil }
	})
	for _, uri := range []string{s.uri(":v1"), s.uri("@" + manifest), s.uri(":other@" + manifest)} {
		f, err := store.Fetch(t.Context(), r, uri)
		require.NoError(t, err)
		require.Equal(t, digestOf(t, dir), digestOf(t, f.Dir))
		require.FileExists(t, filepath.Join(f.Dir, "additional_chat_templates", "tool_use.jinja"))
		require.NoFileExists(t, filepath.Join(f.Dir, adapters.RunMark))
	}
	require.Equal(t, []string{baseA, baseB}, known[0].Bases)
	s.count("")

	s.Close()
	f, err := store.Fetch(t.Context(), r, s.uri("@"+manifest))
	require.NoError(t, err)
	require.NoError(t, f.Stale)
	f, err = store.Fetch(t.Context(), r, s.uri(":v1"))
	require.NoError(t, err)
	require.ErrorIs(t, f.Stale, remote.ErrUnreachable)
	_, err = store.Fetch(t.Context(), r, s.uri(":v2"))
	require.ErrorIs(t, err, remote.ErrUnreachable, "that tag has never been seen")
}

func TestTagsThatMove(t *testing.T) {
	s, dir := newServer(t), lora(t)
	r := registries(t, Config{})
	store, _ := storeOf(t, nil)
	push := func() string {
		manifest, err := r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: dir})
		require.NoError(t, err)
		return manifest
	}
	before := push()
	first, err := store.Fetch(t.Context(), r, s.uri(":v1"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("# Another"), 0o644))
	push()
	second, err := store.Fetch(t.Context(), r, s.uri(":v1"))
	require.NoError(t, err)
	require.NotEqual(t, first.Dir, second.Dir)
	pinned, err := store.Fetch(t.Context(), r, s.uri("@"+before))
	require.NoError(t, err)
	require.Equal(t, first.Dir, pinned.Dir)
}

func TestRefs(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	for uri, want := range map[string]string{
		"oci://ghcr.io/team/a:v1": "", "oci://localhost:5000/a:v1": "", "oci://docker.io/team/a@sha256:" + digest: digest, "oci://r.example/a:v1@sha256:" + digest: digest,
	} {
		ref, err := ParseRef(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, ref.Digest(), uri)
	}
	for uri, want := range map[string]string{
		"ghcr.io/team/a:v1": "does not begin with oci://", "oci://": "want oci://", "oci://ghcr.io": "want oci://", "oci://ghcr.io/team/a": "neither a tag nor a digest",
		"oci://ghcr.io/../a:v1": "repository", "oci://ghcr.io/Team:v1": "repository", "oci://a@b.example/x:v1": "registry", "oci://ghcr.io/a:v1@sha256:12": "digest",
		"oci://ghcr.io/a@sha512:" + digest + digest: "no SHA-256", "oci://ghcr.io/a:v/1": "tag", "oci://ghcr.io/a?x:v1": "repository",
	} {
		_, err := ParseRef(uri)
		require.ErrorContains(t, err, want, uri)
		require.ErrorContains(t, err, uri)
	}
}

// wrongManifest answers requests for manifests with another one.
func wrongManifest(change func(*ocispec.Manifest)) func(*server, []byte) {
	return func(s *server, manifest []byte) {
		var m ocispec.Manifest
		if err := json.Unmarshal(manifest, &m); err != nil {
			panic(err)
		}
		change(&m)
		text, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			_, _ = w.Write(text)
			return true
		}
	}
}

// weights is the layer of the tensors.
func weights(m *ocispec.Manifest) *ocispec.Descriptor {
	return &m.Layers[slices.IndexFunc(m.Layers, func(l ocispec.Descriptor) bool { return l.Annotations[ocispec.AnnotationTitle] == adapters.SafeFile })]
}

func titled(title string) func(*server, []byte) {
	return wrongManifest(func(m *ocispec.Manifest) {
		extra := m.Layers[0]
		extra.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		m.Layers = append(m.Layers, extra)
	})
}

// blobs answers requests for blobs.
func blobs(answer http.HandlerFunc) func(*server, []byte) {
	return func(s *server, _ []byte) {
		s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				answer(w, r)
				return true
			}
			return false
		}
	}
}

func manifests(answer http.HandlerFunc) func(*server, []byte) {
	return func(s *server, _ []byte) {
		s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				answer(w, r)
				return true
			}
			return false
		}
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
			return
		}
	}
}

// Whatever a registry answers, there is the adapter that the manifest describes,
// or nothing.
func TestHostileRegistries(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("what is inside has been asked") }))
	defer inside.Close()
	for name, c := range map[string]struct {
		does func(s *server, manifest []byte)
		want error
		says string
	}{
		"size below":   {wrongManifest(func(m *ocispec.Manifest) { weights(m).Size-- }), remote.ErrUnreachable, "Content-Length"},
		"size above":   {wrongManifest(func(m *ocispec.Manifest) { weights(m).Size++ }), remote.ErrUnreachable, "Content-Length"},
		"large":        {wrongManifest(func(m *ocispec.Manifest) { weights(m).Size = 1 << 40 }), remote.ErrTooLarge, "at most 1048576"},
		"negative":     {wrongManifest(func(m *ocispec.Manifest) { weights(m).Size = -1 }), remote.ErrReply, "-1 bytes"},
		"no such blob": {wrongManifest(func(m *ocispec.Manifest) { weights(m).Digest = "sha256:" + "ab" + weights(m).Digest[9:] }), remote.ErrNotFound, adapters.SafeFile},
		"no digest":    {wrongManifest(func(m *ocispec.Manifest) { weights(m).Digest = "../../secret" }), remote.ErrReply, "no SHA-256"},
		"weak digest":  {wrongManifest(func(m *ocispec.Manifest) { weights(m).Digest = "md5:d41d8cd98f00b204e9800998ecf8427e" }), remote.ErrReply, "no SHA-256"},
		"no title":     {wrongManifest(func(m *ocispec.Manifest) { weights(m).Annotations = nil }), remote.ErrReply, "is no file"},
		"packed":       {wrongManifest(func(m *ocispec.Manifest) { weights(m).Annotations[unpackAnnotation] = "true" }), remote.ErrReply, "is no file"},
		"twice":        {titled(adapters.SafeFile), remote.ErrReply, "twice"},
		"out":          {titled("../adapter_config.json"), remote.ErrReply, `"../adapter_config.json"`},
		"out at last":  {titled("additional_chat_templates/../../x.jinja"), remote.ErrReply, ".."},
		"absolute":     {titled("/etc/passwd"), remote.ErrReply, "/etc/passwd"},
		"windows":      {titled(`..\x`), remote.ErrReply, `..\\x`},
		"drive":        {titled(`C:x`), remote.ErrReply, "C:x"},
		"index":        {wrongManifest(func(m *ocispec.Manifest) { m.MediaType, m.Layers = ocispec.MediaTypeImageIndex, nil }), remote.ErrReply, "no layers"},
		"no adapter":   {wrongManifest(func(m *ocispec.Manifest) { m.Layers = []ocispec.Descriptor{*weights(m)} }), remote.ErrNotFound, adapters.ConfigFile},
		"many": {wrongManifest(func(m *ocispec.Manifest) {
			for i := range 300 {
				l := m.Layers[0]
				l.Annotations = map[string]string{ocispec.AnnotationTitle: fmt.Sprintf("tokenizer%d", i)}
				m.Layers = append(m.Layers, l)
			}
		}), remote.ErrTooLarge, "304 files"},
		"no base": {wrongManifest(func(m *ocispec.Manifest) { m.Annotations = map[string]string{BasesAnnotation: baseA + ",../b"} }), remote.ErrReply, BasesAnnotation},
		"many bases": {wrongManifest(func(m *ocispec.Manifest) {
			m.Annotations = map[string]string{BasesAnnotation: strings.Repeat(baseA+",", 99) + baseA}
		}), remote.ErrReply, BasesAnnotation},
		"no JSON": {manifests(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			_, _ = io.WriteString(w, "<html>")
		}), remote.ErrReply, "manifest"},
		"stalled by an endless manifest": {manifests(endless), nil, ""}, // of which a HEAD has no answer
		"large manifest": {manifests(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000000000")
			endless(w, r)
		}), nil, ""},
		"another's digest": {manifests(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("ab", 32))
			_, _ = io.WriteString(w, "{}")
		}), remote.ErrCorrupt, "abab"},
		"endless blob":  {blobs(endless), remote.ErrCorrupt, "more than"},
		"cut blob":      {blobs(func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }), remote.ErrUnreachable, "cut at byte 0"},
		"another blob":  {blobs(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) }), nil, ""},
		"error":         {blobs(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }), remote.ErrUnreachable, "HTTP 500"},
		"endless error": {blobs(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden); endless(w, r) }), remote.ErrUnauthorized, "HTTP 403"},
		"led inside": {blobs(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
		}), remote.ErrReply, "no public address"},
		"led to a file": {blobs(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
		}), nil, ""},
		"led around": {blobs(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}), remote.ErrReply, "redirects"},
		"tokens inside": {func(s *server, _ []byte) {
			s.Instead = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)+`"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
		}, nil, "bearer realm host"}, // which oras refuses
		"stalled manifest": {manifests(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), remote.ErrUnreachable, "no answer for"},
		"stalled blob": {blobs(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), remote.ErrUnreachable, "no byte for"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			r := registries(t, Config{})
			_, err := r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: lora(t)})
			require.NoError(t, err)
			response, err := http.Get(s.URL + "/v2/team/a/manifests/v1")
			require.NoError(t, err)
			manifest, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			c.does(s, manifest)
			store, dir := storeOf(t, func(c *remote.Config) {
				if strings.HasPrefix(name, "stalled") { // nobody else is judged by the clock
					c.Idle = 50 * time.Millisecond
				}
			})
			_, err = store.Fetch(t.Context(), r, s.uri(":v1"))
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, s.uri(":v1"))
			verifyNothing(t, dir)
		})
	}
}

func verifyNothing(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	for _, e := range left {
		require.Contains(t, []string{"locks", "refs"}, e.Name())
	}
}

// A pinned manifest is that one or none.
func TestPinnedManifest(t *testing.T) {
	s := newServer(t)
	r := registries(t, Config{})
	manifest, err := r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: lora(t)})
	require.NoError(t, err)
	wrongManifest(func(m *ocispec.Manifest) { m.Annotations = map[string]string{"a": "b"} })(s, manifestText(t, s))
	store, dir := storeOf(t, nil)
	_, err = store.Fetch(t.Context(), r, s.uri("@"+manifest))
	require.Error(t, err)
	verifyNothing(t, dir)
}

func manifestText(t *testing.T, s *server) []byte {
	t.Helper()
	response, err := http.Get(s.URL + "/v2/team/a/manifests/v1")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return text
}

// A wrong base is known by the manifest: its weights are not asked for.
func TestWrongBaseCostsNoWeights(t *testing.T) {
	s, dir := newServer(t), lora(t)
	r := registries(t, Config{})
	_, err := r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: dir, Bases: []string{baseA}})
	require.NoError(t, err)
	var m ocispec.Manifest
	require.NoError(t, json.Unmarshal(manifestText(t, s), &m))
	store, _ := storeOf(t, func(c *remote.Config) {
		c.Suits = func(d remote.Described) error {
			require.Equal(t, []string{baseA}, d.Bases)
			return adapters.ErrBase
		}
	})
	s.count("")
	_, err = store.Fetch(t.Context(), r, s.uri(":v1"))
	require.ErrorIs(t, err, adapters.ErrBase)
	require.Zero(t, s.count(string(weights(&m).Digest)))
}

// withLogin has a registry ask for a user and a password, at once or for a token.
func withLogin(s *server, bearer bool) {
	const user = "Basic "
	want := user + base64.StdEncoding.EncodeToString([]byte("me:secret"))
	s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
		sent := r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/token":
			if sent != want {
				w.WriteHeader(http.StatusUnauthorized)
			} else {
				_, _ = io.WriteString(w, `{"token":"given"}`)
			}
			return true
		case bearer && sent == "Bearer given", !bearer && sent == want:
			return false
		}
		challenge := `Basic realm="registry"`
		if bearer {
			challenge = fmt.Sprintf(`Bearer realm="%s/token",service="registry",scope="repository:team/a:pull"`, s.URL)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestCredentials(t *testing.T) {
	dir := lora(t)
	for _, bearer := range []bool{false, true} {
		s := newServer(t)
		withLogin(s, bearer)
		store, _ := storeOf(t, nil)
		file := filepath.Join(t.TempDir(), "config.json")
		_, err := registries(t, Config{Credentials: file}).Push(t.Context(), s.uri(":v1"), Pushed{Dir: dir})
		require.ErrorIs(t, err, remote.ErrUnauthorized)
		require.ErrorContains(t, err, "docker login")

		login := func(user string) {
			text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host(), base64.StdEncoding.EncodeToString([]byte(user)))
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		}
		login("me:wrong")
		_, err = registries(t, Config{Credentials: file}).Push(t.Context(), s.uri(":v1"), Pushed{Dir: dir})
		require.ErrorIs(t, err, remote.ErrUnauthorized)
		require.NotContains(t, err.Error(), "wrong")
		login("me:secret")
		r := registries(t, Config{Credentials: file})
		_, err = r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: dir})
		require.NoError(t, err)
		_, err = store.Fetch(t.Context(), r, s.uri(":v1"))
		require.NoError(t, err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err := New(Config{Credentials: file, Client: remote.Client()})
	require.ErrorContains(t, err, file)

	env := map[string]string{"HOME": "/home/me"}
	getenv := func(name string) string { return env[name] }
	require.Equal(t, filepath.Join("/home/me", ".docker", "config.json"), CredentialsFile(getenv))
	env["DOCKER_CONFIG"] = "/docker"
	require.Equal(t, filepath.Join("/docker", "config.json"), CredentialsFile(getenv))
	require.Empty(t, CredentialsFile(func(string) string { return "" }))
}

func TestPushRefuses(t *testing.T) {
	s := newServer(t)
	r := registries(t, Config{})
	_, err := r.Push(t.Context(), s.uri("@sha256:"+strings.Repeat("ab", 32)), Pushed{Dir: lora(t)})
	require.ErrorContains(t, err, "name a tag")
	_, err = r.Push(t.Context(), s.uri(""), Pushed{Dir: lora(t)})
	require.ErrorContains(t, err, "neither a tag")
	require.Empty(t, s.Asked())

	s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusInsufficientStorage)
		}
		return r.Method == http.MethodPost
	}
	_, err = r.Push(t.Context(), s.uri(":v1"), Pushed{Dir: lora(t)})
	require.ErrorIs(t, err, remote.ErrUnreachable)
	require.ErrorContains(t, err, "HTTP 507")
	require.Zero(t, s.count("PUT /v2/team/a/manifests"), "no tag without its files")
}
