//go:build unix

package adapters_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk/disktest"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSaveOutlastsPower: whoever opens a folder that an adapter was being saved
// to finds the old one, the new one, or an error, and the new one once it was
// saved; saving it again mends all.
func TestSaveOutlastsPower(t *testing.T) {
	open := func(t *testing.T, name string) *adapters.Folder {
		t.Helper()
		folder, err := adapters.Open(modeltest.Goldens(t, "llama", "adapters", name))
		if err != nil {
			t.Fatal(err)
		}
		return folder
	}
	for _, before := range []string{"", "lora"} {
		disktest.Trial{
			Prepare: func(t *testing.T, root string) {
				if before == "" {
					return
				}
				if err := open(t, before).Save(filepath.Join(root, "a")); err != nil {
					t.Fatal(err)
				}
			},
			Act: func(t *testing.T, root string) error { return open(t, "dora").Save(filepath.Join(root, "a")) },
			Check: func(t *testing.T, dir string, done bool) {
				folder, made := filepath.Join(dir, "a"), open(t, "dora")
				found, err := adapters.Open(folder)
				switch {
				case err != nil && done:
					t.Error(err)
				case err == nil && found.Digest() != made.Digest() && (done || before == "" || found.Digest() != open(t, before).Digest()):
					t.Errorf("there is another adapter, %s; done: %v", found.Digest(), done)
				}
				if err := made.Save(folder); err != nil {
					t.Fatal(err)
				}
				if found, err = adapters.Open(folder); err != nil || found.Digest() != made.Digest() {
					t.Errorf("saved again: %v", err)
				}
				if left, err := os.ReadDir(folder); done && (err != nil || len(left) != 2) {
					t.Errorf("%v is left (%v)", left, err)
				}
			},
		}.Run(t)
	}
}
