package hub

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"hf://owner/name":                        {"owner/name", "main", ""},
		"hf://gpt2":                              {"gpt2", "main", ""},
		"hf://owner/na.me-1_b@v1.0":              {"owner/na.me-1_b", "v1.0", ""},
		"hf://owner/name:model-Q8_0.gguf":        {"owner/name", "main", "model-Q8_0.gguf"},
		"hf://owner/name@refs/pr/7:sub/m.gguf":   {"owner/name", "refs/pr/7", "sub/m.gguf"},
		"hf://owner/name@" + testCommit + ":a.b": {"owner/name", testCommit, "a.b"},
	} {
		got, err := ParseRef(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%s became %s", s, got)
		}
	}
	for _, s := range []string{
		"", "owner/name", "hf://", "hf:///name", "hf://owner/", "hf://a/b/c", "hf://../name", "hf://owner/..", "hf://own er/name",
		"hf://owner/na--me", "hf://owner/name@", "hf://owner/name@../x", "hf://owner/name@a/../../x", "hf://owner/name@/x",
		"hf://owner/name:", "hf://owner/name:../x", "hf://owner/name:/etc/passwd", `hf://owner/name:a\b`, "hf://owner/name:a//b", "hf://owner/name:.",
	} {
		if ref, err := ParseRef(s); err == nil {
			t.Errorf("%q was read as %+v", s, ref)
		}
	}
}

// FuzzParseRef demands that what is accepted stays within the cache and is
// written as it was read.
func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"hf://owner/name@refs/pr/7:sub/m.gguf", "hf://gpt2", "hf://a/../..", "hf://a/b@..:.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseRef(s)
		if err != nil {
			return
		}
		if again, err := ParseRef(ref.String()); err != nil || again != ref {
			t.Errorf("%q became %+v, %v", s, again, err)
		}
		for _, part := range []string{ref.Revision, ref.File} {
			if part != "" && !filepath.IsLocal(part) {
				t.Errorf("%q leaves the cache by %q", s, part)
			}
		}
	})
}

func TestModelFiles(t *testing.T) {
	for name, c := range map[string]struct{ all, want string }{
		"safetensors": {".gitattributes config.json model.safetensors pytorch_model.bin tf_model.h5 tokenizer.json tokenizer_config.json vocab.json",
			"config.json model.safetensors tokenizer.json tokenizer_config.json vocab.json"},
		"sharded": {"config.json consolidated.safetensors model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json",
			"config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json"},
		"torch":      {"config.json pytorch_model.bin training_args.bin optimizer.pt", "config.json pytorch_model.bin"},
		"adapter":    {"adapter_config.json adapter_model.safetensors adapter_model.bin checkpoint-1/adapter_model.safetensors", "adapter_config.json adapter_model.safetensors"},
		"AdapterHub": {"adapter_config.json head_config.json pytorch_adapter.bin", "adapter_config.json head_config.json pytorch_adapter.bin"},
		"templates": {"chat_template.jinja additional_chat_templates/tools.jinja generation_config.json model.safetensors sub/tokenizer.json",
			"additional_chat_templates/tools.jinja chat_template.jinja generation_config.json model.safetensors"},
		"sentence-transformers": {"1_Pooling/config.json config.json config_sentence_transformers.json data_config.json model.safetensors modules.json sentence_bert_config.json",
			"config.json config_sentence_transformers.json model.safetensors modules.json sentence_bert_config.json"},
	} {
		got, err := ModelFiles(strings.Fields(c.all))
		if err != nil || !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := ModelFiles([]string{"config.json", "a-Q4_0.gguf", "Q8/b.gguf"}); !errors.Is(err, ErrNoWeights) || !strings.Contains(err.Error(), "a-Q4_0.gguf, Q8/b.gguf") {
		t.Errorf("got %v", err)
	}
	if _, err := ModelFiles([]string{"config.json"}); !errors.Is(err, ErrNoWeights) {
		t.Errorf("got %v", err)
	}
}

func TestAdapterFiles(t *testing.T) {
	for all, want := range map[string]string{
		".gitattributes README.md a.gguf":                                       "README.md a.gguf",
		"README.md a.gguf adapter_config.json adapter_model.safetensors":        "README.md adapter_config.json adapter_model.safetensors",
		"a.gguf b.gguf config.json model.safetensors":                           "config.json model.safetensors",
		"adapter_config.json adapter_model.safetensors checkpoint/adapter.gguf": "adapter_config.json adapter_model.safetensors",
	} {
		got, err := AdapterFiles(strings.Fields(all))
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q, %v", all, got, err)
		}
	}
	if _, err := AdapterFiles([]string{"a.gguf", "b.gguf"}); !errors.Is(err, ErrNoWeights) || !strings.Contains(err.Error(), "a.gguf, b.gguf") {
		t.Errorf("two: %v", err)
	}
}

func TestModuleFiles(t *testing.T) {
	all := strings.Fields("1_Pooling/config.json 2_Dense/config.json 2_Dense/model.safetensors 2_Dense/pytorch_model.bin 3_Normalize/sub/config.json config.json extra/1_Pooling/config.json onnx/config.json")
	for modules, want := range map[string]string{
		`[{"idx":0,"path":""},{"path":"1_Pooling"},{"path":"2_Dense/"},{"path":"3_Normalize"},{"path":"1_Pooling"}]`: "1_Pooling/config.json 2_Dense/config.json 2_Dense/model.safetensors",
		`[{"path":"extra/1_Pooling"},{"path":"../x"},{"path":"/1_Pooling"},{"path":"*"}]`:                            "extra/1_Pooling/config.json",
		`[{"path":7}]`: "", `{}`: "", ``: "",
	} {
		if got := ModuleFiles([]byte(modules), all); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q", modules, got)
		}
	}
}

func TestParts(t *testing.T) {
	got := parts("sub/m-00002-of-00003.gguf")
	if want := []string{"sub/m-00001-of-00003.gguf", "sub/m-00002-of-00003.gguf", "sub/m-00003-of-00003.gguf"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, file := range []string{"m.gguf", "m-00001-of-0002.gguf", "-00001-of-00002.gguf", "m-0001x-of-00002.gguf"} {
		if got := parts(file); !slices.Equal(got, []string{file}) {
			t.Errorf("%s: %q", file, got)
		}
	}
}

func TestConfigFrom(t *testing.T) {
	home := t.TempDir()
	hf := filepath.Join(home, "hf")
	if err := errors.Join(os.MkdirAll(hf, 0o755), os.WriteFile(filepath.Join(hf, "token"), []byte("hf_file\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	type want struct {
		cache, token, endpoint string
		offline                bool
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want want
	}{
		"defaults":   {nil, want{cache: filepath.Join(home, ".cache/huggingface/hub")}},
		"XDG":        {map[string]string{"XDG_CACHE_HOME": "/x"}, want{cache: "/x/huggingface/hub"}},
		"HF_HOME":    {map[string]string{"HF_HOME": hf}, want{cache: filepath.Join(hf, "hub"), token: "hf_file"}},
		"HF_TOKEN":   {map[string]string{"HF_HOME": hf, "HF_TOKEN": " hf_env "}, want{cache: filepath.Join(hf, "hub"), token: "hf_env"}},
		"token path": {map[string]string{"HF_TOKEN_PATH": filepath.Join(hf, "token")}, want{cache: filepath.Join(home, ".cache/huggingface/hub"), token: "hf_file"}},
		"all": {map[string]string{"HF_HOME": hf, "HF_HUB_CACHE": "/c", "HF_ENDPOINT": "http://mirror/", "HF_HUB_OFFLINE": "true"},
			want{"/c", "hf_file", "http://mirror/", true}},
		"not offline": {map[string]string{"HF_HUB_CACHE": "/c", "HF_HUB_OFFLINE": "0"}, want{cache: "/c"}},
	} {
		env := map[string]string{"HOME": home}
		maps.Copy(env, c.env)
		got, err := ConfigFrom(func(name string) string { return env[name] })
		if err != nil || (want{got.Cache, got.Token, got.Endpoint, got.Offline}) != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	_, err := New(Config{Endpoint: "ftp://x", Token: "two words", Attempts: -1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"cache", "ftp://x", "token", "attempts"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "two words") {
		t.Error("the error shows the token")
	}
}
