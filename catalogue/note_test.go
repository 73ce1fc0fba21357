package catalogue

import (
	"os"
	"path/filepath"
	"testing"
)

// TestInspect: what Inspect tells of a folder is in the listing, loaded or not,
// and it is asked once of each state of the folder.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	asked := map[string]int{}
	c, err := New((&fakeLoader{}).load, Options{Dir: dir, Log: silent, Inspect: func(dir string) string {
		asked[filepath.Base(dir)]++
		text, _ := os.ReadFile(filepath.Join(dir, configName))
		return string(text)
	}})
	if err != nil {
		t.Fatal(err)
	}
	// The directory's events would ask beside the test.
	if err := c.watcher.close(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lay := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, configName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := func(text string, times int) {
		t.Helper()
		if e, err := c.Lookup("a"); err != nil || e.Warning != text {
			t.Errorf("%+v, %v, want %q", e, err, text)
		}
		if list := c.List(); len(list) != 1 || list[0].State == Known && list[0].Warning != text {
			t.Errorf("%+v, want %q", list, text)
		}
		if asked["a"] != times {
			t.Errorf("asked %d times, want %d", asked["a"], times)
		}
	}
	lay("a", "one")
	for range 2 {
		want("one", 1)
	}
	if _, err := c.Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	want("one", 1)
	lay("a", "another")
	want("another", 2)
	if _, err := c.Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	want("another", 2)
	if list := c.List(); list[0].State != Resident || list[0].Warning != "another" {
		t.Errorf("%+v", list)
	}
	lay("a", "")
	want("", 3)
}
