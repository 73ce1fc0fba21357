//go:build unix

package chat

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe that nobody writes to does not hold a load up.
func TestFindRefusesAPipe(t *testing.T) {
	for _, name := range []string{templateFile, tokenizerFile} {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Skip(err)
		}
		if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), name+" is not a regular file") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
