package catalogue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// meant is the digest that a name stands for.
func meant(t *testing.T, c *Catalogue, name string) string {
	t.Helper()
	e, err := c.Load(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return e.Digest
}

// withBuiltin is a catalogue with the built-in adapters x and y beside dir.
func withBuiltin(t *testing.T, dir string) *Catalogue {
	t.Helper()
	load := func(_ context.Context, s Source) (Adapter, error) {
		if s.URI == "within://"+s.Name {
			return &fakeAdapter{digest: s.URI, bytes: 1}, nil
		}
		text, err := os.ReadFile(filepath.Join(s.Dir, "weights"))
		return &fakeAdapter{digest: string(text), bytes: 1}, err
	}
	c, err := New(load, Options{
		Dir: dir, Log: silent, Builtin: map[string]string{"x": "within://x", "y": "within://y"},
		Schemes: map[string]Scheme{"within": func(_ context.Context, uri string) (string, error) { return uri, nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.watcher.close(); err != nil { // nothing may depend on events
		t.Fatal(err)
	}
	return c
}

// A built-in adapter is there until something else has its name, and again when
// that is gone; nothing removes it.
func TestBuiltin(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "y", "own y")
	c := withBuiltin(t, dir)
	if got := states(c); got != "x:known y:known" {
		t.Error(got)
	}
	if got := meant(t, c, "y"); got != "own y" {
		t.Errorf("at the start y is %s", got)
	}
	if got := meant(t, c, "x"); got != "within://x" {
		t.Errorf("x is %s", got)
	}
	refused := func(name string) {
		t.Helper()
		took := false
		err := c.Remove(t.Context(), name, func(Entry) error { took = true; return nil })
		if !errors.Is(err, ErrBuiltin) || took {
			t.Errorf("%s is removed: %v, %v", name, err, took)
		}
	}
	refused("x")

	// A folder.
	writeAdapter(t, dir, "x", "own x")
	held := hold(t, c, "x")
	if got := meant(t, c, "x"); got != "own x" {
		t.Errorf("with a folder x is %s", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "x")); err != nil {
		t.Fatal(err)
	}
	if got := meant(t, c, "x"); got != "within://x" {
		t.Errorf("without the folder x is %s", got)
	}
	held.Release()
	refused("x")

	// One that is forgotten and stays on the disk.
	if err := c.Remove(t.Context(), "y", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := meant(t, c, "y"); got != "within://y" {
			t.Errorf("when its folder is forgotten y is %s", got)
		}
		if err := c.Rescan(); err != nil {
			t.Fatal(err)
		}
	}
	refused("y")
	writeAdapter(t, dir, "y", "another y")
	if got := meant(t, c, "y"); got != "another y" {
		t.Errorf("when the folder has changed y is %s", got)
	}

	// One that is registered, and one that is swapped in.
	if err := c.Add("x", "within://x"); err != nil {
		t.Errorf("x cannot be registered: %v", err)
	}
	if err := c.Remove(t.Context(), "x", nil); err != nil {
		t.Error(err)
	}
	refused("x")
	s := &shelf{dir: dir}
	if _, err := c.Swap(t.Context(), s.candidate(t, "x", "uploaded x")); err != nil {
		t.Fatal(err)
	}
	if got := meant(t, c, "x"); got != "uploaded x" {
		t.Errorf("after an upload x is %s", got)
	}
	if err := c.Remove(t.Context(), "x", func(Entry) error { return os.RemoveAll(filepath.Join(dir, "x")) }); err != nil {
		t.Fatal(err)
	}
	if got := meant(t, c, "x"); got != "within://x" {
		t.Errorf("after the upload is removed x is %s", got)
	}
}

// A pin is the name's, whoever has it.
func TestBuiltinPinned(t *testing.T) {
	dir := t.TempDir()
	c := withBuiltin(t, dir)
	if err := c.Pin(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	writeAdapter(t, dir, "x", "own x")
	if got := meant(t, c, "x"); got != "own x" {
		t.Errorf("x is %s", got)
	}
	if e, err := c.Lookup("x"); err != nil || !e.Pinned {
		t.Errorf("%+v, %v", e, err)
	}
}

// Without a folder of adapters there are those that are built in.
func TestBuiltinAlone(t *testing.T) {
	f := &fakeLoader{}
	c := f.catalogue(t, Options{Builtin: map[string]string{"x": "fake://within"}})
	if got := meant(t, c, "x"); got != "within" {
		t.Errorf("x is %s", got)
	}
	if _, err := c.Lookup("z"); !errors.Is(err, ErrUnknown) {
		t.Errorf("z: %v", err)
	}
	if err := c.Remove(t.Context(), "x", nil); !errors.Is(err, ErrBuiltin) {
		t.Errorf("x is removed: %v", err)
	}
}
