package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestMap(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"", "some bytes"} {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Map(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Bytes) != content {
			t.Errorf("mapped %q, want %q", m.Bytes, content)
		}
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "absent")} {
		if _, err := Map(path); err == nil {
			t.Errorf("%s was mapped", path)
		}
	}
}

// TestMapPrivate demands that what is written to a private mapping is seen by
// it alone.
func TestMapPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("some bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := MapPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Bytes, "mine")
	if string(m.Bytes) != "mine bytes" {
		t.Errorf("mapped %q", m.Bytes)
	}
	if b, err := os.ReadFile(path); string(b) != "some bytes" || err != nil {
		t.Errorf("the file is %q, %v", b, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestReplaceKeepsTheOldFileOnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write := func(s string, err error) error {
		return Replace(path, func(w io.Writer) error {
			_, _ = io.WriteString(w, s)
			return err
		})
	}
	broken := errors.New("broken")
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("half of the n", broken); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("found %q after a failed write", b)
	}
	if err := write("new", nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Errorf("found %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files are left: %v", len(left), left)
	}
}
