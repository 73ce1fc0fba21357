package catalogue

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noticed has listings of a folder a/b of an adapter which has long been as it is.
func noticed(t *testing.T) (k *listings, dir string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k = &listings{notices: newNotices()}
	t.Cleanup(k.notices.close)
	dir = filepath.Join(root, "a", "b")
	writeAdapter(t, filepath.Dir(dir), "b", "one")
	return k, dir
}

// list lists a folder that has long been as it is.
func (k *listings) list(t *testing.T, dir string) *listing {
	t.Helper()
	old(t, dir)
	if _, err := k.read(dir); err != nil || k.all[dir] == nil {
		t.Fatal("it is not kept", err)
	}
	k.all[dir].start = time.Now().Add(time.Hour) // however long this takes
	return k.all[dir]
}

// A folder of which there is no notice is not looked at, and there is notice of whatever
// happens to it: also what no file's name in it tells of.
func TestNotices(t *testing.T) {
	k, dir := noticed(t)
	if l := k.list(t, dir); !l.told {
		t.Skip("the file system is not one of which notice is given")
	}
	weights, other := filepath.Join(dir, "weights"), filepath.Join(filepath.Dir(dir), "other")
	for what, change := range map[string]func() error{
		"written":               func() error { return os.WriteFile(weights, []byte("two"), 0o644) },
		"cut":                   func() error { return os.Truncate(weights, 1) },
		"written by a mapping":  func() error { return writeMapped(weights) },
		"hidden":                func() error { return os.Chmod(weights, 0) },
		"shown":                 func() error { return os.Chmod(weights, 0o644) },
		"replaced":              func() error { return os.Rename(other, weights) },
		"written by a new name": func() error { return os.WriteFile(other, []byte("three"), 0o644) },
		"new":                   func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o644) },
		"moved":                 func() error { return os.Rename(dir, dir+"-old") },
		"moved above":           func() error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+"-old") },
		"lost":                  func() error { k.notices.heed(-1, unix.IN_Q_OVERFLOW); return nil },
	} {
		_ = os.Remove(other)
		var err error
		switch what {
		case "replaced":
			err = os.WriteFile(other, []byte("other"), 0o644)
		case "written by a new name":
			err = os.Link(weights, other)
		}
		if err != nil {
			t.Fatal(err)
		}
		l := k.list(t, dir)
		l.all[0].state.inode++ // it would not stand if it were looked at
		if _, ok := k.kept(dir); !ok {
			t.Fatalf("%s: it is looked at without a notice", what)
		}
		if now, ok := k.quiet(dir); !ok || now != l.stamp {
			t.Fatalf("%s: it is not quiet without a notice", what)
		}
		if err := change(); err != nil {
			t.Fatal(what, err)
		}
		if _, ok := k.kept(dir); ok {
			t.Errorf("%s: there is no notice", what)
		}
		if _, ok := k.quiet(dir); ok {
			t.Errorf("%s: it is quiet after a notice", what)
		}
		for _, moved := range []string{dir, filepath.Dir(dir)} {
			if _, err := os.Stat(moved + "-old"); err == nil {
				if err := os.Rename(moved+"-old", moved); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	l := k.list(t, dir)
	for _, c := range []struct {
		age   time.Duration
		quiet bool
		kept  bool
	}{{listedFor, true, true}, {toldFor, true, false}, {0, false, true}, {listedFor, false, false}} {
		if l.folder.changed = 0; !c.quiet {
			l.folder.changed = l.since + 1
		}
		l.start = time.Now().Add(time.Hour) // however long this takes
		if c.age > 0 {
			l.start = time.Now().Add(-c.age)
		}
		if _, ok := k.kept(dir); ok != c.kept {
			t.Errorf("%+v: kept is %v", c, ok)
		}
		if _, ok := k.quiet(dir); ok != (c.kept && c.quiet) {
			t.Errorf("%+v: quiet is %v", c, ok)
		}
	}
	if k.list(t, dir); len(k.notices.folders) != 1 {
		t.Errorf("%d folders", len(k.notices.folders))
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.kept(dir); ok || len(k.notices.folders) != 0 {
		t.Errorf("%d folders are watched that are gone", len(k.notices.folders))
	}
}

// writeMapped changes the first byte of a file.
func writeMapped(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	b[0]++
	return unix.Munmap(b)
}

// What a link leads to is looked at, wherever the link is on the path, and so is a file
// that is in two folders, where there is notice of the other.
func TestNoNotices(t *testing.T) {
	k, dir := noticed(t)
	second := dir + "-second"
	writeAdapter(t, filepath.Dir(dir), filepath.Base(second), "one")
	weights := filepath.Join(second, "weights")
	k.list(t, dir)
	for _, change := range []func() (path string, err error){
		func() (string, error) { return dir + "-link", os.Symlink(dir, dir+"-link") },
		func() (string, error) {
			above := filepath.Dir(dir) + "-link"
			return filepath.Join(above, "b"), os.Symlink(filepath.Dir(dir), above)
		},
		func() (string, error) {
			if err := os.Remove(weights); err != nil {
				return "", err
			}
			return second, os.Symlink(filepath.Join(dir, "weights"), weights)
		},
		func() (string, error) {
			if err := os.Remove(weights); err != nil {
				return "", err
			}
			return second, os.Link(filepath.Join(dir, "weights"), weights)
		},
	} {
		path, err := change()
		if err != nil {
			t.Fatal(err)
		}
		l := k.list(t, path)
		if _, ok := k.kept(path); !ok {
			t.Errorf("%s does not stand", path)
		}
		l.all[0].state.inode++
		if _, ok := k.kept(path); ok {
			t.Errorf("%s is not looked at", path)
		}
	}
	for path, f := range k.notices.folders {
		if f.watches == 0 {
			t.Errorf("%s is kept, and nothing in it is watched", path)
		}
	}
}
