//go:build unix

package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/disk/disktest"
)

// lay writes a file with what is above it.
func lay(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// oldOrNew demands that a file is one or the other, and the new one once done.
func oldOrNew(t testing.TB, path, old, made string, done bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if got := string(b); err != nil && old != "" || got != made && (got != old || done) {
		t.Errorf("%s holds %.20q (%v), done: %v", filepath.Base(path), got, err, done)
	}
}

// long takes several writes.
var long = strings.Repeat("new", 1<<17)

func TestReplaceIsOldOrNew(t *testing.T) {
	for _, old := range []string{"", "old"} {
		disktest.Trial{
			Prepare: func(t *testing.T, root string) {
				if old != "" {
					lay(t, filepath.Join(root, "file"), old)
				}
			},
			Act: func(_ *testing.T, root string) error { return disk.Write(filepath.Join(root, "file"), []byte(long)) },
			Check: func(t *testing.T, dir string, done bool) {
				oldOrNew(t, filepath.Join(dir, "file"), old, long, done)
				if err := disk.Sweep(dir, "file"); err != nil {
					t.Error(err)
				}
				if left, err := os.ReadDir(dir); err != nil || len(left) > 1 {
					t.Errorf("%v is left (%v)", left, err)
				}
			},
		}.Run(t)
	}
}

func TestMkdirAllOutlastsPower(t *testing.T) {
	disktest.Trial{
		Prepare: func(*testing.T, string) {},
		Act:     func(_ *testing.T, root string) error { return disk.MkdirAll(filepath.Join(root, "a", "b", "c")) },
		Check: func(t *testing.T, dir string, done bool) {
			if _, err := os.Stat(filepath.Join(dir, "a", "b", "c")); done && err != nil {
				t.Error(err)
			}
		},
	}.Run(t)
}

// TestPlaceIsOldOrNew: a folder is never a mixture, and where two names cannot
// be exchanged the old one is aside if there is none.
func TestPlaceIsOldOrNew(t *testing.T) {
	for _, noExchange := range []bool{false, true} {
		for _, old := range []string{"", "old"} {
			disktest.Trial{
				NoExchange: noExchange,
				Prepare: func(t *testing.T, root string) {
					if old != "" {
						lay(t, filepath.Join(root, "place", "a"), old)
						lay(t, filepath.Join(root, "place", "sub", "b"), old)
					}
				},
				Act: func(t *testing.T, root string) error {
					work := filepath.Join(root, ".work")
					if err := disk.MkdirAll(filepath.Join(work, "made")); err != nil {
						return err
					}
					lay(t, filepath.Join(work, "made", "a"), "new")
					lay(t, filepath.Join(work, "made", "sub", "b"), "new")
					if err := disk.SyncAll(work); err != nil {
						return err
					}
					return disk.Place(filepath.Join(work, "made"), filepath.Join(root, "place"), filepath.Join(work, "old"), nil)
				},
				Check: func(t *testing.T, dir string, done bool) {
					place := filepath.Join(dir, "place")
					if _, err := os.Stat(place); err != nil {
						if aside := filepath.Join(dir, ".work", "old"); old != "" && noExchange {
							place = aside
						} else if old == "" && !done {
							return
						}
					}
					a, err := os.ReadFile(filepath.Join(place, "a"))
					if err != nil {
						t.Error(err)
					}
					oldOrNew(t, filepath.Join(place, "a"), old, "new", done)
					oldOrNew(t, filepath.Join(place, "sub", "b"), string(a), string(a), done)
				},
			}.Run(t)
		}
	}
}

func TestMakeIsOldOrNew(t *testing.T) {
	disktest.Trial{
		Prepare: func(t *testing.T, root string) { lay(t, filepath.Join(root, "place", "a"), "old") },
		Act: func(t *testing.T, root string) error {
			return disk.Make(filepath.Join(root, "place"), func(made string) error {
				if err := disk.Mkdir(made); err != nil {
					return err
				}
				lay(t, filepath.Join(made, "a"), "new")
				return nil
			})
		},
		Check: func(t *testing.T, dir string, done bool) {
			oldOrNew(t, filepath.Join(dir, "place", "a"), "old", "new", done)
		},
	}.Run(t)
}

// TestPlaceRefused: what is refused once it has been taken out of its place is
// back there, and so is what was to take it.
func TestPlaceRefused(t *testing.T) {
	for _, noExchange := range []bool{false, true} {
		root := t.TempDir()
		made, place := filepath.Join(root, "made"), filepath.Join(root, "place")
		lay(t, filepath.Join(made, "a"), "new")
		lay(t, filepath.Join(place, "a"), "old")
		s := disktest.New(t, root)
		s.NoExchange = noExchange
		refused := errors.New("refused")
		err := disk.Place(made, place, filepath.Join(root, "old"), func(old string) error {
			oldOrNew(t, filepath.Join(old, "a"), "old", "old", true)
			oldOrNew(t, filepath.Join(place, "a"), "new", "new", true)
			return refused
		})
		if !errors.Is(err, refused) {
			t.Errorf("%v, want %v", err, refused)
		}
		oldOrNew(t, filepath.Join(made, "a"), "new", "new", true)
		oldOrNew(t, filepath.Join(place, "a"), "old", "old", true)
		s.Stop()
	}
}

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := disk.CreateLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.CreateLock(path); !os.IsExist(err) {
		t.Errorf("made twice: %v", err)
	}
	if _, err := disk.TryLock(path); err == nil {
		t.Error("locked twice")
	}
	if err := held.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.TryLock(path); !os.IsNotExist(err) {
		t.Errorf("a lock that is gone: %v", err)
	}
}
