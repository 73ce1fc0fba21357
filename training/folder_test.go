package training

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

func configOf(t testing.TB, dir string) map[string]any {
	t.Helper()
	values := map[string]any{}
	readJSON(t, filepath.Join(dir, adapters.ConfigFile), &values)
	return values
}

// TestFoldersAsPEFT: what each method writes has the keys that PEFT writes,
// target_modules as a list, and the base's own name or null, never a path.
func TestFoldersAsPEFT(t *testing.T) {
	goldens := map[string]string{"ia3": "ia3", "bitfit": "beft", "prefix": "prefix", "prompt": "prompt"}
	for _, method := range []string{"lora", "rslora", "dora", "lora+", "ia3", "bitfit", "prefix", "prompt"} {
		c := tinyConfig(t, method)
		c.MaxSteps, c.ZeroBiases, c.Base = 1, true, "/models/tiny"
		if slices.Contains(Reads(method), "target-modules") && method != "ia3" {
			c.Targets = []string{"all-linear"}
		}
		golden := goldens[method]
		if golden == "" {
			golden = "lora-all-linear"
		}
		for _, name := range []string{"", "owner/tiny"} {
			base := openTiny(t, "llama-gqa")
			base.Name = name
			c.Output = filepath.Join(t.TempDir(), "out")
			r, err := NewRun(c, base, &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Do(context.Background()); err != nil {
				t.Fatal(err)
			}
			want, got := configOf(t, modeltest.Goldens(t, "llama-gqa", "adapters", golden)), configOf(t, c.Output)
			if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
				t.Errorf("%s: keys %q, PEFT writes %q", method, a, b)
			}
			if base := got["base_model_name_or_path"]; name == "" && base != nil || name != "" && base != name {
				t.Errorf("%s: base_model_name_or_path is %v of a base called %q", method, base, name)
			}
			if targets, ok := got["target_modules"].([]any); slices.Contains(Reads(method), "target-modules") && (!ok || len(targets) != map[bool]int{true: 3, false: 7}[method == "ia3"]) {
				t.Errorf("%s: target_modules is %v", method, got["target_modules"])
			}
			readme, err := os.ReadFile(filepath.Join(c.Output, "README.md"))
			if err != nil || strings.Contains(string(readme), "base_model: owner/tiny") != (name != "") || strings.Contains(string(readme), "/models/") {
				t.Errorf("%s (%v)", readme, err)
			}
		}
	}
}

// TestNamesOfTheBase: --base-name wins; of an adapter that is trained on, its
// own word holds where it is a name.
func TestNamesOfTheBase(t *testing.T) {
	first := tinyConfig(t, "lora")
	first.MaxSteps, first.BaseName = 1, "owner/first"
	if _, err := train(t, first, "llama-gqa", &quiet{}); err != nil {
		t.Fatal(err)
	}
	next := func(own, flag string) any {
		values := configOf(t, first.Output)
		values["base_model_name_or_path"] = own
		b, err := json.Marshal(values)
		if err == nil {
			err = os.WriteFile(filepath.Join(first.Output, adapters.ConfigFile), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		c := tinyConfig(t, "lora")
		c.MaxSteps, c.BaseName, c.InitAdapter = 1, flag, first.Output
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		return configOf(t, c.Output)["base_model_name_or_path"]
	}
	if got := next("owner/first", ""); got != "owner/first" {
		t.Error(got)
	}
	if got := next("owner/first", "owner/second"); got != "owner/second" {
		t.Error(got)
	}
	if got := next("/home/someone/base", ""); got != nil {
		t.Error(got)
	}
	for _, path := range []string{"/a/b", "./a", "../a", "~/a", `C:\a`} {
		first.BaseName = path
		if err := first.Validate(); err == nil || !strings.Contains(err.Error(), "--base-name") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
