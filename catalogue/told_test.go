package catalogue

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// told is a catalogue whose log is read; what happens in the directory is looked at by
// List alone.
func told(t *testing.T, o Options) (*Catalogue, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	c := (&fakeLoader{}).catalogue(t, o)
	if err := c.watcher.close(); err != nil {
		t.Fatal(err)
	}
	return c, &log
}

// A folder, or a file of llama.cpp's, whose name no adapter may have is named in the
// log once; other files, and what begins with a dot, are not.
func TestBadNamesAreTold(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ü name", ".hidden", "good"} {
		writeAdapter(t, dir, name, "one")
	}
	for _, file := range []string{"a b.gguf", "read me.txt", "fine.gguf"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, log := told(t, Options{Dir: dir})
	want := func(times int, last string) {
		t.Helper()
		for range 2 {
			if got := c.List(); len(got) != 2 {
				t.Errorf("%+v", got)
			}
		}
		if got := strings.Count(log.String(), "no adapter can be called"); got != times || !strings.Contains(log.String(), last) {
			t.Errorf("%d times, want %d and %q:\n%s", got, times, last, log)
		}
	}
	want(2, "ü name")
	want(2, "a b.gguf")
	if err := os.Mkdir(filepath.Join(dir, "later on"), 0o755); err != nil {
		t.Fatal(err)
	}
	want(3, "later on")
}

// An adapter that comes to have the base's name is told of when it is found, wherever
// it comes from, and again when it has gone and come back.
func TestClashIsTold(t *testing.T) {
	dir := t.TempDir()
	c, log := told(t, Options{Dir: dir, Taken: "base"})
	want := func(times int) {
		t.Helper()
		if got := strings.Count(log.String(), "has the base's name"); got != times {
			t.Errorf("told %d times, want %d:\n%s", got, times, log)
		}
	}
	list := func(times int) {
		t.Helper()
		c.List()
		c.List()
		want(times)
	}
	writeAdapter(t, dir, "another", "one")
	list(0)
	writeAdapter(t, dir, "base", "one")
	list(1)
	if err := os.RemoveAll(filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	list(1)
	writeAdapter(t, dir, "base", "two")
	list(2)

	_, log = told(t, Options{Taken: "base", Builtin: map[string]string{"base": "fake://one"}})
	want(1)
	c, log = told(t, Options{Taken: "base"})
	want(0)
	if err := c.Add("base", "fake://one"); err != nil {
		t.Fatal(err)
	}
	want(1)
}
