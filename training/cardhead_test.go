package training

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCardHead: a card says what the base's says of licence, language and tags,
// in the forms that the hub takes, and nothing that is true of the base alone.
func TestCardHead(t *testing.T) {
	for name, c := range map[string]struct{ card, want string }{
		"none":           {"", ""},
		"without a head": {"# A model\n---\nlicense: mit\n---\n", ""},
		"broken":         {"---\nlicense: [mit\n---\n", ""},
		"plain":          {"---\nlicense: apache-2.0\nlanguage: en\ntags:\n- chat\n---\n# A model\n", "license: apache-2.0\nlanguage: en\ntags:\n  - chat\n"},
		"lists": {"---\r\nlicense: other\r\nlicense_name: own\r\nlicense_link: LICENSE\r\nlanguage: [en, de]\r\npipeline_tag: x\r\ntags: [chat, tiny]\r\n---\r\n",
			"license: other\nlicense_name: own\nlicense_link: LICENSE\nlanguage:\n  - en\n  - de\ntags:\n  - chat\n  - tiny\n"},
		"of a list": {"---\nbase_model: [a/b]\npipeline_tag: [x]\nlicense: mit\n---\n", "license: mit\n"},
		"empty":     {"---\nlicense:\nlanguage: []\n---\n", ""},
		"no":        {"---\nlanguage: 'no'\n---\n", "language: \"no\"\n"},
	} {
		dir := t.TempDir()
		if c.card != "" {
			if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(c.card), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want := "---\n" + c.want + "---\n"
		if c.want == "" {
			want = "---\n{}\n---\n"
		}
		if got := string(headOf(dir, nil).front()); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestCardOfRun: what a run writes names its base in every way that the hub
// looks for.
func TestCardOfRun(t *testing.T) {
	for method, wants := range map[string][]string{
		"lora": {"base_model: owner/tiny\n", "library_name: peft\n", "license: other\n", "license_link: https://huggingface.co/owner/tiny/blob/main/LICENSE\n",
			"language: en\n", "  - base_model:adapter:owner/tiny\n", "  - chat\n", "  - lora\n", "pipeline_tag: text-generation\n"},
		"full": {"library_name: transformers\n", "  - base_model:finetune:owner/tiny\n", "  - full\n"},
	} {
		c := tinyConfig(t, method)
		c.MaxSteps = 1
		base := openTiny(t, "llama-gqa")
		own := t.TempDir()
		if err := os.CopyFS(own, os.DirFS(base.Path)); err != nil {
			t.Fatal(err)
		}
		card := "---\nlicense: other\nlicense_link: LICENSE\nlanguage: [en]\ntags: [chat, gguf, region:us, base_model:x/y]\n---\n"
		if err := os.WriteFile(filepath.Join(own, "README.md"), []byte(card), 0o644); err != nil {
			t.Fatal(err)
		}
		base.Path, base.Name = own, "owner/tiny"
		r, err := NewRun(c, base, &quiet{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(c.Output, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(b), "\n# ")
		for _, want := range wants {
			if !strings.Contains(head, want) {
				t.Errorf("%s: %q is not in\n%s", method, want, head)
			}
		}
		for _, not := range []string{"gguf", "region", "x/y"} {
			if strings.Contains(head, not) {
				t.Errorf("%s: %q is in\n%s", method, not, head)
			}
		}
	}
}
