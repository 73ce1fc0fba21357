//go:build unix

package disktest

import (
	"os"
	"path/filepath"
	"testing"
)

// Loss is what is lost when all stops.
type Loss string

// Whatever a file system does lies between the first two: what was not synced
// is lost, or what was written is lost, but not the names that were given to
// it, which many write down first. A kill loses nothing.
const (
	Unsynced Loss = "what was not synced"
	Contents Loss = "contents that were not synced"
	Nothing  Loss = "nothing"
)

// Losses are all of them.
var Losses = []Loss{Unsynced, Contents, Nothing}

// Survivors writes into the empty folder at dir what is there of the root once
// the power is back.
func (s *Strict) Survivors(t testing.TB, loss Loss, dir string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if loss == Unsynced {
		stat, fault := os.Stat(s.root)
		if fault != nil {
			t.Fatal(fault)
		}
		err = s.synced(s.on[number(stat)], dir)
	} else {
		err = s.named(s.root, dir, loss == Nothing)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// synced lays out what is on the disk of a folder.
func (s *Strict) synced(folder *image, to string) error {
	for name, n := range folder.names {
		path, i := filepath.Join(to, name), s.on[n]
		if !i.folder {
			if err := i.lay(path); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := s.synced(i, path); err != nil {
			return err
		}
	}
	return nil
}

// named lays out a folder as it is, with the contents that are on the disk, or
// with all.
func (s *Strict) named(from, to string, whole bool) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path, into := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		stat, err := e.Info()
		if err != nil {
			return err
		}
		i := s.on[number(stat)]
		if i == nil || whole {
			i = &image{changed: stat.ModTime()}
		}
		switch {
		case e.IsDir():
			if err = os.Mkdir(into, 0o755); err == nil {
				err = s.named(path, into, whole)
			}
		case whole:
			if i.content, err = os.ReadFile(path); err == nil {
				err = i.lay(into)
			}
		default:
			err = i.lay(into)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lay writes a file as it is on the disk.
func (i *image) lay(path string) error {
	if err := os.WriteFile(path, i.content, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, i.changed, i.changed)
}
