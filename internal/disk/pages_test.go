//go:build linux

package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// TestMemoryIsPrivate looks into the kernel's account of the mapping: shared memory is
// in large pages on hardly any machine.
func TestMemoryIsPrivate(t *testing.T) {
	m, err := Memory(4 * largePage)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	for i := 0; i < len(m.Bytes); i += 4096 {
		m.Bytes[i] = 1
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	var at uint64
	if _, err := fmt.Sscanf(fmt.Sprintf("%p", m.Bytes), "0x%x", &at); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var access string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &access); err != nil {
			t.Fatal(err)
		}
		if from <= at && at < to {
			if access != "rw-p" {
				t.Errorf("it is mapped %s", access)
			}
			return
		}
	}
	t.Error("no mapping holds it")
}
