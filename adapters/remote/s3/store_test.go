package s3

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/adapters/remote/remotetest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// server is a store of the tests.
type server struct{ *remotetest.Server }

func newServer(t *testing.T) *server {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("bucket"))
	return &server{remotetest.New(t, gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())}
}

func (s *server) put(t *testing.T, key string, text []byte) {
	t.Helper()
	request := httptest.NewRequest(http.MethodPut, s.URL+"/bucket/"+key, bytes.NewReader(text))
	request.Header.Set("Content-Length", fmt.Sprint(len(text)))
	answer := httptest.NewRecorder()
	s.Own.ServeHTTP(answer, request)
	require.Equal(t, http.StatusOK, answer.Code)
}

// layLora puts a golden adapter below a prefix, with what else may lie there.
func (s *server) layLora(t *testing.T, prefix string) (digest string) {
	t.Helper()
	dir := modeltest.Goldens(t, "llama", "adapters", "lora")
	for _, name := range []string{adapters.ConfigFile, adapters.SafeFile} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		s.put(t, prefix+name, text)
	}
	s.put(t, prefix+"additional_chat_templates/a.jinja", []byte("{{ a }}"))
	s.put(t, prefix+"checkpoint/optimizer.bin", []byte("no"))
	s.put(t, prefix+"metrics.jsonl", []byte("no"))
	f, err := adapters.Open(dir)
	require.NoError(t, err)
	return f.Digest()
}

func (s *server) store(change func(*Config)) *Store {
	c := Config{Endpoint: s.URL, Region: "us-east-1", AccessKey: "id", SecretKey: "secret", Client: remote.Client()}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func kept(t *testing.T, idle time.Duration) (*remote.Store, string) {
	c := remote.Config{Dir: filepath.Join(t.TempDir(), "store"), Limit: 1 << 20, Attempts: 2, Backoff: time.Millisecond, Idle: idle}
	return remote.New(c), c.Dir
}

func TestFetch(t *testing.T) {
	s := newServer(t)
	digest := s.layLora(t, "team/a/")
	s.layLora(t, "team/a-other/")
	store, _ := kept(t, 0)
	for _, uri := range []string{"s3://bucket/team/a", "s3://bucket/team/a/", "s3://bucket/team/a@sha256:" + digest} {
		f, err := store.Fetch(t.Context(), s.store(nil), uri)
		require.NoError(t, err, uri)
		folder, err := adapters.Open(f.Dir)
		require.NoError(t, err)
		require.Equal(t, digest, folder.Digest())
		require.FileExists(t, filepath.Join(f.Dir, "additional_chat_templates", "a.jinja"))
		require.NoFileExists(t, filepath.Join(f.Dir, "metrics.jsonl"))
	}
	for _, r := range s.Asked() {
		require.Contains(t, r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=id/")
		require.Contains(t, r.Header.Get("Authorization"), "/us-east-1/s3/aws4_request")
	}
	before := len(s.Asked())
	first, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/team/a")
	require.NoError(t, err)
	require.Len(t, s.Asked(), before+2, "two lists, and no object again")

	s.put(t, "team/a/README.md", []byte("# Card"))
	second, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/team/a")
	require.NoError(t, err)
	require.NotEqual(t, first.Dir, second.Dir)

	s.Close()
	f, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/team/a")
	require.NoError(t, err)
	require.ErrorIs(t, f.Stale, remote.ErrUnreachable)
	require.Equal(t, second.Dir, f.Dir)
}

// An adapter with a head keeps the names of its classes, and with them its digest.
func TestHeadsKeepTheirClasses(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(modeltest.Goldens(t, "heads", "bert", "text"))))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"id2label":{"0":"bad","1":"so so","2":"good"},"problem_type":"multi_label_classification"}`), 0o644))
	for _, name := range []string{adapters.ConfigFile, adapters.SafeFile, "config.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		s.put(t, "a/"+name, text)
	}
	want, err := adapters.Open(dir)
	require.NoError(t, err)
	store, _ := kept(t, 0)
	f, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/a")
	require.NoError(t, err)
	got, err := adapters.Open(f.Dir)
	require.NoError(t, err)
	require.Equal(t, want.Digest(), got.Digest())
	require.Equal(t, &models.Classes{Names: []string{"bad", "so so", "good"}, Problem: models.MultiLabel}, got.Config.Classes)
}

func TestWholeBucketUnsigned(t *testing.T) {
	s := newServer(t)
	s.layLora(t, "")
	store, _ := kept(t, 0)
	f, err := store.Fetch(t.Context(), s.store(func(c *Config) { c.AccessKey, c.SecretKey = "", "" }), "s3://bucket")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(f.Dir, adapters.SafeFile))
	require.Empty(t, s.Asked()[0].Header.Get("Authorization"))
}

func TestNotThere(t *testing.T) {
	s := newServer(t)
	s.layLora(t, "a/")
	store, dir := kept(t, 0)
	for uri, want := range map[string]string{
		"s3://bucket/b": adapters.ConfigFile, "s3://nobody/a": "NoSuchBucket", "s3://bucket/a/checkpoint": adapters.ConfigFile,
	} {
		_, err := store.Fetch(t.Context(), s.store(nil), uri)
		require.ErrorIs(t, err, remote.ErrNotFound, uri)
		require.ErrorContains(t, err, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, "s3-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// listing answers lists of objects.
func listing(objects func(prefix string) string) func(*server) {
	return func(s *server) {
		s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if !r.URL.Query().Has("list-type") {
				return false
			}
			_, _ = io.WriteString(w, "<ListBucketResult>"+objects(r.URL.Query().Get("prefix"))+"</ListBucketResult>")
			return true
		}
	}
}

func named(key string, size int64) string {
	return fmt.Sprintf(`<Contents><Key>%s</Key><Size>%d</Size><ETag>"x"</ETag></Contents>`, key, size)
}

func objects(answer http.HandlerFunc) func(*server) {
	return func(s *server) {
		s.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("list-type") {
				return false
			}
			answer(w, r)
			return true
		}
	}
}

// What is signed is what Signature Version 4 says: every byte of a key is escaped
// but letters, digits and -._~/.
func TestSignature(t *testing.T) {
	s := newServer(t)
	s.layLora(t, "run=5+x/a/")
	store, _ := kept(t, 0)
	_, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/run=5+x/a")
	require.NoError(t, err)
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	objects := 0
	for _, r := range s.Asked() {
		if !r.URL.Query().Has("list-type") {
			objects++
		}
		var path strings.Builder
		for _, c := range []byte(r.URL.Path) {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~/", rune(c)) {
				path.WriteByte(c)
			} else {
				fmt.Fprintf(&path, "%%%02X", c)
			}
		}
		said := r.Header.Get("Authorization")
		_, names, _ := strings.Cut(said, "SignedHeaders=")
		names, _, _ = strings.Cut(names, ",")
		var headers strings.Builder
		for name := range strings.SplitSeq(names, ";") {
			value := r.Header.Get(name)
			if name == "host" {
				value = r.Host
			}
			fmt.Fprintf(&headers, "%s:%s\n", name, value)
		}
		request := strings.Join([]string{"GET", path.String(), strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"), headers.String(), names, ofNothing}, "\n")
		at := r.Header.Get("X-Amz-Date")
		text := fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s/us-east-1/s3/aws4_request\n%x", at, at[:8], sha256.Sum256([]byte(request)))
		key := []byte("AWS4secret")
		for _, part := range []string{at[:8], "us-east-1", "s3", "aws4_request"} {
			key = mac(key, part)
		}
		require.Contains(t, said, fmt.Sprintf("Signature=%x", mac(key, text)), r.URL)
	}
	require.Positive(t, objects)
}

// idleOf is short for who stalls: nobody else is judged by the clock.
func idleOf(name string) time.Duration {
	if strings.HasPrefix(name, "stalled") {
		return 50 * time.Millisecond
	}
	return 0
}

// Whatever a store answers, there is an adapter of the listed sizes, or nothing.
func TestHostileStores(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("what is inside has been asked") }))
	defer inside.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		does func(*server)
		want error
		says string
	}{
		"out": {listing(func(p string) string {
			return named(p+"../x", 1) + named("/etc/passwd", 1) + named(p+"../"+adapters.ConfigFile, 1)
		}), remote.ErrNotFound, adapters.ConfigFile},
		"elsewhere": {listing(func(string) string { return named("other/"+adapters.ConfigFile, 1) }), remote.ErrNotFound, adapters.ConfigFile},
		"large":     {listing(func(p string) string { return named(p+adapters.ConfigFile, 1<<40) }), remote.ErrTooLarge, "at most"},
		"negative":  {listing(func(p string) string { return named(p+adapters.ConfigFile, -1) }), remote.ErrReply, "-1 bytes"},
		"longer":    {listing(func(p string) string { return named(p+adapters.ConfigFile, 3) }), nil, ""},
		"pages":     {listing(func(p string) string { return "<IsTruncated>true</IsTruncated>" + named(p+"x", 1) }), remote.ErrTooLarge, "more than 10 objects"},
		"no tag": {listing(func(p string) string {
			return strings.Replace(named(p+adapters.ConfigFile, 1), `<ETag>"x"</ETag>`, "", 1)
		}), remote.ErrReply, "no ETag"},
		"no XML": {listing(func(string) string { return "<" }), remote.ErrReply, "list of objects"},
		"endless list": {func(s *server) {
			s.Instead = func(w http.ResponseWriter, r *http.Request) bool { endless(w, r); return true }
		}, remote.ErrReply, "does not end"},
		"endless object": {objects(endless), remote.ErrCorrupt, "more than"},
		"cut":            {objects(func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }), remote.ErrUnreachable, "cut at byte 0"},
		"led inside": {objects(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
		}), remote.ErrReply, "HTTP 307"},
		"led by region": {objects(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", "x.evil.example/")
			w.WriteHeader(http.StatusMovedPermanently)
		}), remote.ErrReply, "HTTP 301"},
		"refused": {objects(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_ = xml.NewEncoder(w).Encode(struct {
				XMLName xml.Name `xml:"Error"`
				Code    string
			}{Code: "AccessDenied"})
		}), remote.ErrUnauthorized, "s3:GetObject there (AccessDenied)"},
		"replaced": {objects(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPreconditionFailed) }), remote.ErrCorrupt, "replaced meanwhile"},
		"stalled":  {objects(func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() }), remote.ErrUnreachable, "no byte for"},
		"stalled list": {func(s *server) {
			s.Instead = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
		}, remote.ErrUnreachable, "no answer for"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.layLora(t, "a/")
			c.does(s)
			store, dir := kept(t, idleOf(name))
			_, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/a")
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "s3://bucket/a")
			left, err := os.ReadDir(dir)
			if err != nil {
				require.ErrorIs(t, err, os.ErrNotExist)
			}
			for _, e := range left {
				require.Contains(t, []string{"locks", "refs"}, e.Name())
			}
		})
	}
}

// An object is asked for with the tag that it was listed with.
func TestObjectsAreThoseListed(t *testing.T) {
	s := newServer(t)
	s.layLora(t, "a/")
	store, _ := kept(t, 0)
	_, err := store.Fetch(t.Context(), s.store(nil), "s3://bucket/a")
	require.NoError(t, err)
	for _, r := range s.Asked() {
		if !r.URL.Query().Has("list-type") {
			require.Regexp(t, `^"[0-9a-f]{32}"$`, r.Header.Get("If-Match"))
		}
	}
}

func TestRefs(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	for uri, want := range map[string]Ref{
		"s3://bucket": {Bucket: "bucket"}, "s3://bucket/": {Bucket: "bucket"}, "s3://my.bucket/a/b/": {Bucket: "my.bucket", Prefix: "a/b"},
		"s3://bucket/a_b=1/c@sha256:" + digest: {Bucket: "bucket", Prefix: "a_b=1/c", Digest: digest},
	} {
		ref, err := ParseRef(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, ref)
	}
	for uri, want := range map[string]string{
		"bucket/a": "does not begin", "s3://": "is not a bucket", "s3://Bucket/a": "is not a bucket", "s3://b..c/a": "is not a bucket", "s3://me:you@bucket/a": "is no SHA-256",
		"s3://bucket/../a": "a prefix is", "s3://bucket//a": "a prefix is", "s3://bucket/a b": "a prefix is", "s3://bucket/a?x": "a prefix is", "s3://bucket/a@v1": "is no SHA-256",
		"s3://bucket/a@sha256:12": "is no SHA-256", "s3://bucket/.": "a prefix is",
	} {
		_, err := ParseRef(uri)
		require.ErrorContains(t, err, want, uri)
	}
}

func TestAddresses(t *testing.T) {
	for want, b := range map[string]*bucket{
		"https://bucket.s3.eu-west-1.amazonaws.com/a/b":    {store: New(Config{Client: remote.Client()}), name: "bucket", region: "eu-west-1"},
		"https://s3.eu-west-1.amazonaws.com/my.bucket/a/b": {store: New(Config{Client: remote.Client()}), name: "my.bucket", region: "eu-west-1"},
		"http://minio.example:9000/bucket/a/b":             {store: New(Config{Endpoint: "http://minio.example:9000", Client: remote.Client()}), name: "bucket", region: "eu-west-1"},
	} {
		require.Equal(t, want, b.address("a/b").String())
	}
}

func TestConfig(t *testing.T) {
	home := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(home, ".aws"), 0o755))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(home, ".aws", name), []byte(text), 0o600))
	}
	config := func(env map[string]string) (Config, error) {
		return ConfigFrom(func(name string) string {
			if name == "HOME" {
				return home
			}
			return env[name]
		})
	}
	c, err := config(nil)
	require.NoError(t, err)
	require.Equal(t, Config{Region: "us-east-1"}, c)

	write("credentials", "# mine\n[default]\naws_access_key_id = id\naws_secret_access_key = se=cret\n\n[other]\naws_access_key_id=id2\naws_secret_access_key=secret2\naws_session_token = token\n")
	write("config", "[default]\nregion = eu-west-1\ns3 =\n  region = nested\n[profile other]\nendpoint_url = https://minio.example/\n")
	c, err = config(nil)
	require.NoError(t, err)
	require.Equal(t, Config{Region: "eu-west-1", AccessKey: "id", SecretKey: "se=cret"}, c)
	c, err = config(map[string]string{"AWS_PROFILE": "other", "AWS_DEFAULT_REGION": "eu-north-1"})
	require.NoError(t, err)
	require.Equal(t, Config{Endpoint: "https://minio.example", Region: "eu-north-1", AccessKey: "id2", SecretKey: "secret2", SessionToken: "token"}, c)
	c, err = config(map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://x:9000", "AWS_ENDPOINT_URL_S3": "http://y:9000", "AWS_REGION": "r"})
	require.NoError(t, err)
	require.Equal(t, Config{Endpoint: "http://y:9000", Region: "r", AccessKey: "a", SecretKey: "b"}, c)

	for want, env := range map[string]map[string]string{
		"one of them is not set":    {"AWS_ACCESS_KEY_ID": "a"},
		"the profile nobody has no": {"AWS_PROFILE": "nobody"},
		"is not an address":         {"AWS_ENDPOINT_URL": "minio.example:9000"},
		"no such file":              {"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "none")},
	} {
		_, err := config(env)
		require.ErrorContains(t, err, want)
	}
}
