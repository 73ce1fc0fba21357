//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLargePages maps a large file that was just written, so that it is in the
// page cache in whatever pages the writes left.
func TestLargePages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	content := make([]byte, worthwhile+12345)
	for i := range content {
		content[i] = byte(i * 31 >> 7)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m, err := Map(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Bytes) != string(content) {
			t.Error("the mapping differs from the file")
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
