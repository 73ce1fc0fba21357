package plan

import (
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestConverted: a configuration, the GGUF made of it and the model itself have
// the same parameters.
func TestConverted(t *testing.T) {
	files, err := filepath.Glob(modeltest.Goldens(t, "converted", "*", "model.gguf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		m, s, err := models.Open(path, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, from := range []string{path, filepath.Join(filepath.Dir(path), "config.json")} {
			b, err := Open(from, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := b.Parameters(), m.Config().Parameters; got != want {
				t.Errorf("%s: %d parameters, the model has %d", from, got, want)
			}
		}
	}
}

// TestUnknownKey: a plan is of what can be trained.
func TestUnknownKey(t *testing.T) {
	config := []byte(`{"architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
		"num_attention_heads": 1, "sorcery": 3}`)
	if _, err := Parse("base", config, models.Options{}); err == nil {
		t.Error("a key that nobody knows is planned for")
	}
	if _, err := Parse("base", config, models.Options{IgnoreConfigKeys: []string{"sorcery"}}); err != nil {
		t.Error(err)
	}
}
