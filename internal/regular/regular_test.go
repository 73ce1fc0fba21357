package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(path, 2); string(b) != "{}" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := Text(path, 2); string(b) != "{}" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	latin := filepath.Join(dir, "latin.json")
	if err := os.WriteFile(latin, []byte("\"\xe9\""), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Text(latin, 3); !errors.Is(err, ErrText) || !strings.Contains(err.Error(), latin) {
		t.Errorf("Latin-1: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	if b, err := Read(link, 2); string(b) != "{}" || err != nil {
		t.Errorf("a link: %q, %v", b, err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		most int64
		want error
	}{
		"too large":    {path, 1, ErrSize},
		"folder":       {dir, 1, ErrKind},
		"device":       {os.DevNull, 1, ErrKind},
		"not there":    {filepath.Join(dir, "absent"), 1, fs.ErrNotExist},
		"in no folder": {filepath.Join(path, "x"), 1, nil},
		"loop":         {loop, 1, nil},
	} {
		_, err := Read(c.path, c.most)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
