//go:build unix

package catalogue

import (
	"os"
	"path/filepath"
	"testing"
)

// A file of the same size and time in the place of another is a change, copied
// over it or moved there.
func TestChangeOfSameSizeAndTime(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	c := folders(t, dir)
	path := filepath.Join(dir, "a", "weights")
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ file, want string }{{"", "one"}, {path, "two"}, {path + ".new", "six"}} {
		if change.file != "" {
			if err := os.WriteFile(change.file, []byte(change.want), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(change.file, stat.ModTime(), stat.ModTime()); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(change.file, path); err != nil {
				t.Fatal(err)
			}
		}
		if e, err := c.Load(t.Context(), "a"); err != nil || e.Digest != change.want {
			t.Errorf("%q, %v, want %q", e.Digest, err, change.want)
		}
	}
}
