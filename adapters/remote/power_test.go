//go:build unix

package remote

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/internal/disk/disktest"
)

// TestFetchOutlastsPower: what has an artefact's name is whole at any moment, and
// is there once it was fetched; fetching again mends all.
func TestFetchOutlastsPower(t *testing.T) {
	fetch := func(root string) (Fetched, error) {
		return New(Config{Dir: filepath.Join(root, "store"), Limit: 1 << 20, Attempts: 1}).Fetch(t.Context(), newMemory(), uri)
	}
	disktest.Trial{
		Prepare: func(*testing.T, string) {},
		Act:     func(_ *testing.T, root string) error { _, err := fetch(root); return err },
		Check: func(t *testing.T, root string, done bool) {
			folder := filepath.Join(root, "store", "one")
			if _, err := os.Stat(folder); err == nil {
				verifyWhole(t, newMemory(), folder)
			} else if done || !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
			f, err := fetch(root)
			if err != nil {
				t.Fatal(err)
			}
			verifyWhole(t, newMemory(), f.Dir)
			left, err := filepath.Glob(filepath.Join(root, "store", ".*"))
			if err != nil || len(left) > 0 {
				t.Errorf("%v is left (%v)", left, err)
			}
		},
	}.Run(t)
}
