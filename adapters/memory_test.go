package adapters_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// TestOpenBytes: every golden adapter whose files are these two is from bytes what
// it is from its folder, and is refused as that is.
func TestOpenBytes(t *testing.T) {
	golden(t, func(t *testing.T, m models.Model, _, dir string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		contents := map[string][]byte{}
		for _, f := range files {
			if f.Name() == "golden.safetensors" || f.Name() == "README.md" || strings.HasSuffix(f.Name(), "cases.json") {
				continue
			}
			if f.Name() != adapters.ConfigFile && f.Name() != adapters.SafeFile {
				t.Skipf("it has %s too", f.Name())
			}
			if contents[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
		want, wantErr := adapters.Open(dir)
		for shift := range 4 {
			tensors := append(make([]byte, shift), contents[adapters.SafeFile]...)[shift:]
			got, err := adapters.OpenBytes(dir, contents[adapters.ConfigFile], tensors)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("%v, want %v", err, wantErr)
			}
			if err != nil {
				continue
			}
			if got.Digest() != want.Digest() {
				t.Errorf("digest %s, want %s", got.Digest(), want.Digest())
			}
			a, err := adapters.Load(m, got)
			b, wantErr := adapters.Load(m, want)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("%v, want %v", err, wantErr)
			}
			if err == nil && a.Digest() != b.Digest() {
				t.Errorf("loaded it is %s, want %s", a.Digest(), b.Digest())
			}
		}
	})
}

// TestOpenBadBytes: what is at fault is named.
func TestOpenBadBytes(t *testing.T) {
	for want, c := range map[string]struct {
		config, tensors string
		kind            error
	}{
		"within: adapter_config.json: ": {"", "", adapters.ErrConfig},
		"within: ":                      {`{"peft_type": "SORCERY"}`, "", adapters.ErrMethod},
		"adapter_model.safetensors: ":   {`{"peft_type": "LORA", "r": 4}`, "no", adapters.ErrTensor},
		"within: adapter_config.json: adapter configuration: key \"sorcery\"": {`{"peft_type": "LORA", "sorcery": 4}`, "", adapters.ErrConfig},
	} {
		if _, err := adapters.OpenBytes("within", []byte(c.config), []byte(c.tensors)); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", c.config, err, want)
		}
	}
}
