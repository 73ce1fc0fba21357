package training

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSavedConfiguration: config.json is the base's, its numbers as they were
// written (transformers wants a factor of 4.0, not 4), and names a model type
// also where the base was a GGUF.
func TestSavedConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		path func(t testing.TB) string
		want string
	}{
		"folder":           {func(t testing.TB) string { return modeltest.Goldens(t, "llama-gqa") }, `"factor": 4.0,`},
		"gguf":             {modeltest.SmolLM2, `"model_type": "llama"`},
		"a GGUF's factors": {func(t testing.TB) string { return modeltest.Goldens(t, "converted", "llama-llama3", "model.gguf") }, `"rope_type": "llama3"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.path(t)
			m, s, err := models.Open(path, models.Options{Context: 32})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			dir := t.TempDir()
			if err := SaveModel(dir, &Opened{Path: path, Model: m, Source: s}, Full(m)); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, "config.json"))
			if err != nil || !strings.Contains(string(b), c.want) || !strings.Contains(string(b), `"torch_dtype": "float32"`) {
				t.Errorf("%v: no %s in\n%s", err, c.want, b)
			}
		})
	}
}
