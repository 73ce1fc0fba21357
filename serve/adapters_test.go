package serve

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/kernels"
)

func TestAdapters(t *testing.T) {
	s := newSite(t, nil)
	got := s.get(t, "/v1/adapters")
	require.JSONEq(t, `{"name":"sql","state":"known","source":"/adapters/sql","bytes":0,"pinned":false,"references":0}`, member(t, got.body, "adapters", "2"))
	require.Equal(t, `1048576`, member(t, got.body, "bytes_budget"))
	got = s.post(t, "/v1/adapters/sql/pin", "")
	require.JSONEq(t, `{"name":"sql","state":"resident","source":"/adapters/sql","digest":"digest-of-sql","method":"lora","rank":4,"bytes":1000,"pinned":true,"references":0}`, got.body)
	require.Equal(t, `false`, member(t, s.post(t, "/v1/adapters/sql/unpin", "").body, "pinned"))
	require.Equal(t, 204, s.send(t, "DELETE", "/v1/adapters/sql", "").status)
	require.Equal(t, 404, s.send(t, "DELETE", "/v1/adapters/sql", "").status)
}

// The texts are vLLM's.
func TestLoadAndUnload(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, func(c *Config, _ *Parts) { c.AllowPaths = []string{dir} })
	got := s.post(t, "/v1/load_lora_adapter", `{"lora_name":"new","lora_path":"`+dir+`"}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "Success: LoRA adapter 'new' added successfully.", got.body)
	entry, err := s.catalogue.Lookup("new")
	require.NoError(t, err)
	require.Equal(t, "digest-of-new", entry.Digest)
	require.Equal(t, 400, s.post(t, "/v1/load_lora_adapter", `{"lora_name":"new","lora_path":"`+dir+`"}`).status)
	require.Equal(t, 200, s.post(t, "/v1/load_lora_adapter", `{"lora_name":"new","lora_path":"`+dir+`","load_inplace":true}`).status)

	got = s.post(t, "/v1/load_lora_adapter", `{"lora_name":"lost","lora_path":"`+dir+`/no/such/folder"}`)
	require.Equal(t, 404, got.status)
	require.Contains(t, got.body, `"type":"NotFoundError"`)
	got = s.post(t, "/v1/load_lora_adapter", `{"lora_name":"broken-too","lora_path":"`+dir+`"}`)
	require.Equal(t, 422, got.status)
	require.Contains(t, got.body, "lora_B.weight is missing")
	require.Equal(t, 404, s.get(t, "/v1/adapters/broken-too").status, "what does not load is not kept")

	got = s.post(t, "/v1/unload_lora_adapter", `{"lora_name":"new"}`)
	require.Equal(t, 200, got.status)
	require.Equal(t, "Success: LoRA adapter 'new' removed successfully.", got.body)
}

func TestOperation(t *testing.T) {
	s := newSite(t, nil)
	require.JSONEq(t, `{"version":"1.2.3","base":"base-model","architecture":"LlamaForCausalLM","precision":"F32","activations":"f32","adapter_precision":"stored","kv_type":"f32","kernels":"`+kernels.Name()+`"}`, s.get(t, "/version").body)
	for _, path := range []string{"/health", "/ready", "/v1/models"} {
		got := s.send(t, "HEAD", path, "")
		require.Equal(t, 200, got.status, path)
		require.Empty(t, got.body, path)
	}
	require.JSONEq(t, `{"model_id":"base-model","model_type":"LlamaForCausalLM","model_dtype":"F32","model_device_type":"cpu","max_concurrent_requests":12,
		"max_input_tokens":127,"max_total_tokens":128,"max_batch_size":4,"max_batch_prefill_tokens":64,"max_best_of":1,"router":"peft-serve","version":"1.2.3"}`, s.get(t, "/info").body)
	require.Equal(t, 200, s.get(t, "/health").status)
}

func TestConfigReportsEveryFault(t *testing.T) {
	err := Config{Limits: Limits{BodyLimit: -1, MaxTokensLimit: -1}, Parallel: -1, MetricsAuth: true, Adapters: "/no/such"}.Validate()
	for _, want := range []string{"BodyLimit is -1", "Parallel is -1", "Name is empty", "MaxTokensLimit is -1", "MetricsAuth is set", "Adapters: "} {
		require.ErrorContains(t, err, want)
	}
}

// A request reads what is below the adapters' folder or an allowed one, and is
// told nothing of the rest of the disk.
func TestPathsThatMayBeLoaded(t *testing.T) {
	root, other, outside := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o755))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(root, link))
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Adapters, c.AllowPaths, c.AllowSources = root, []string{other}, []string{"oci://r.example/team", "oci://whole.example:5000/", "s3://bucket/a"}
	})
	for path, ok := range map[string]bool{
		root + "/a": true, root + "/a/b/../b": true, "file://" + root + "/a": true, other: true, link + "/a": true, "hf://owner/name": true,
		outside: false, root + "/../x": false, root + "/a/../../x": false, "file://" + outside: false, "file://host/x": false, "/etc": false, "a": true, "a/b": true, "../x": false, "a/../../x": false,
		root + "x": false, outside + "/no/such": false,
		"oci://r.example/team/x:v1": true, "oci://r.example/team:v1": true, "oci://whole.example:5000/x:v1": true, "s3://bucket/a/b": true, "s3://bucket/a": true,
		"oci://r.example/team-b/x:v1": false, "oci://r.example/x:v1": false, "oci://r.example": false, "oci://other.example/team/x:v1": false, "oci://whole.example:50001/x:v1": false,
		"oci://whole.example:5000@evil.example/x:v1": false, "oci://whole.example/x:v1": false, "s3://bucket/b": false, "s3://bucket-b/a": false, "s3://bucket": false, "s3:///a": false, "oci://": false,
	} {
		got := s.post(t, "/v1/load_lora_adapter", `{"lora_name":"new","load_inplace":true,"lora_path":"`+path+`"}`)
		if ok {
			require.Equal(t, 200, got.status, "%s: %s", path, got.body)
		} else {
			require.Equal(t, 400, got.status, "%s: %s", path, got.body)
			require.Contains(t, got.body, `"param":"lora_path"`)
		}
	}
}

// Loading in place, and deleting, with the real catalogue: what does not load
// leaves the old version in memory, and a name's end takes no other name's
// files with it.
func TestInPlaceAndDelete(t *testing.T) {
	s := realSite(t)
	dir := s.server.config.Adapters
	layAdapter(t, "lora", filepath.Join(dir, "good"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bad"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad", "adapter_config.json"), []byte(`{"peft_type":"OFT"}`), 0o644))
	load := func(path string) answer {
		return s.post(t, "/v1/load_lora_adapter", `{"lora_name":"mine","load_inplace":true,"lora_path":"`+filepath.Join(dir, path)+`"}`)
	}
	require.Equal(t, 200, load("good").status)
	before := s.get(t, "/v1/adapters/mine").body
	require.Equal(t, `"resident"`, member(t, before, "state"))
	require.Equal(t, 422, load("bad").status)
	require.Equal(t, 404, load("none").status)
	require.Equal(t, before, s.get(t, "/v1/adapters/mine").body)

	require.Equal(t, 204, s.send(t, "DELETE", "/v1/adapters/mine", "").status)
	require.Equal(t, 404, s.get(t, "/v1/adapters/mine").status)
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"model":"good","prompt":"a","max_tokens":1}`).status)
}

// DELETE removes what PUT wrote, and nothing that somebody else did; an upload's
// mark changes neither its digest nor whether it loads.
func TestDeleteRemovesUploadsOnly(t *testing.T) {
	s := realSite(t)
	dir := s.server.config.Adapters
	answers := func(name string) int {
		return s.post(t, "/v1/completions", `{"model":"`+name+`","prompt":"a","max_tokens":1}`).status
	}
	refused := func(name string) {
		t.Helper()
		got := s.send(t, "DELETE", "/v1/adapters/"+name, "")
		require.Equal(t, 409, got.status, got.body)
		require.Contains(t, got.body, `"code":"not_uploaded"`)
		require.FileExists(t, filepath.Join(dir, name, "adapter_config.json"))
		require.Equal(t, 200, answers(name), "nothing is done")
	}
	refused("lora")
	require.NoError(t, os.Symlink(filepath.Join(dir, "lora"), filepath.Join(dir, "link")))
	refused("link")

	require.Equal(t, 200, answers("lora"))
	digest := member(t, s.get(t, "/v1/adapters/lora").body, "digest")
	var files []entry
	found, err := os.ReadDir(filepath.Join(dir, "lora"))
	require.NoError(t, err)
	for _, f := range found {
		body, err := os.ReadFile(filepath.Join(dir, "lora", f.Name()))
		require.NoError(t, err)
		files = append(files, entry{name: f.Name(), body: string(body)})
	}
	// An archive cannot bring a mark of its own.
	files = append(files, entry{name: markFile + "/", kind: tar.TypeDir}, entry{name: markFile + "/x", body: "x"})
	put := func() {
		t.Helper()
		got := s.send(t, "PUT", "/v1/adapters/mine", string(gzipOf(t, tarOf(t, files...))))
		require.Less(t, got.status, 300, got.body)
		require.Equal(t, 200, answers("mine"))
		require.Equal(t, digest, member(t, s.get(t, "/v1/adapters/mine").body, "digest"))
	}
	put()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine", "notes.txt"), []byte("x"), 0o644))
	refused("mine")
	require.NoError(t, os.Remove(filepath.Join(dir, "mine", "notes.txt")))
	put()
	require.Equal(t, 204, s.send(t, "DELETE", "/v1/adapters/mine", "").status)
	require.NoDirExists(t, filepath.Join(dir, "mine"))

	require.Equal(t, 200, s.post(t, "/v1/unload_lora_adapter", `{"lora_name":"lora"}`).status)
	require.Equal(t, 404, answers("lora"))
	require.DirExists(t, filepath.Join(dir, "lora"))
}

// vLLM's callers say the base that an adapter is of: nothing, or its name, will do,
// and another is refused by both names.
func TestLoadNamesTheBase(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, func(c *Config, _ *Parts) { c.AllowPaths = []string{dir} })
	ask := func(base string) answer {
		return s.post(t, "/v1/load_lora_adapter", `{"lora_name":"new","lora_path":"`+dir+`","load_inplace":true,"base_model_name":`+base+`}`)
	}
	for _, base := range []string{`""`, `"base-model"`, `null`} {
		require.Equal(t, 200, ask(base).status, base)
	}
	got := ask(`"other"`)
	require.Equal(t, 400, got.status)
	require.JSONEq(t, `{"error":{"message":"base_model_name is 'other': the base here is 'base-model'; leave it out, or name that.","type":"InvalidUserInput","param":"base_model_name","code":400}}`, got.body)
	require.Equal(t, 400, ask(`5`).status)
}

func TestSources(t *testing.T) {
	for _, good := range []string{"oci://r.example", "oci://r.example:5000/", "oci://[::1]:5000/team", "oci://r.example/team/x", "s3://bucket", "s3://my.bucket/a/b_c=1/"} {
		require.NoError(t, CheckSource(good))
	}
	for _, bad := range []string{"", "oci://", "r.example/team", "hf://owner", "https://r.example", "oci://r.example//team", "oci://r.example/x:v1", "oci://a@r.example", "s3://bucket/a?b", "oci://r.example/*"} {
		require.Error(t, CheckSource(bad), bad)
	}
}
