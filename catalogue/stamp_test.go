package catalogue

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/models/chat"
)

// old lets a folder be one that has not changed for a while.
func old(t *testing.T, dir string) {
	t.Helper()
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir, long, long); err != nil {
		t.Fatal(err)
	}
}

// A folder that has been as it is for a while is not read again, whatever changes in it
// is seen at once, and its stamp is the one that reading it anew makes: by notices of the
// system, or by looks.
func TestListingsSeeEachChange(t *testing.T) {
	for name, n := range map[string]*notices{"by notices": newNotices(), "by looks": nil} {
		t.Run(name, func(t *testing.T) { seeEachChange(t, n) })
		n.close()
	}
}

func seeEachChange(t *testing.T, n *notices) {
	dir := t.TempDir()
	write := func(name, text string) func() error {
		return func() error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) }
	}
	templates := filepath.Join(dir, chat.TemplateFolder)
	target := filepath.Join(t.TempDir(), "target")
	k := listings{notices: n}
	for i, change := range []func() error{
		write(configName, "{}"),
		write("weights", "one"),
		write("weights", "three"), // in place
		func() error { return os.Symlink(target, filepath.Join(dir, "link")) },
		func() error { return os.WriteFile(target, nil, 0o644) }, // elsewhere
		func() error { return os.WriteFile(target, []byte("x"), 0o644) },
		func() error { return os.Mkdir(templates, 0o755) },
		func() error { return os.WriteFile(filepath.Join(templates, "a.jinja"), nil, 0o644) },
		func() error { return os.WriteFile(filepath.Join(templates, "a.jinja"), []byte("a"), 0o644) },
		func() error { return os.WriteFile(filepath.Join(templates, "b.jinja"), nil, 0o644) },
		func() error { return os.RemoveAll(templates) },
		func() error { return os.Rename(filepath.Join(dir, "weights"), filepath.Join(dir, "others")) },
		func() error { return os.Remove(filepath.Join(dir, "others")) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		now, err := k.stampOf(dir)
		want, _ := stampOf(dir)
		if err != nil || now != want {
			t.Fatalf("change %d: %x, %v, want %x", i, now, err, want)
		}
		old(t, dir)
		if _, err := os.Stat(templates); err == nil {
			old(t, templates)
		}
		if again, err := k.stampOf(dir); err != nil || again != want {
			t.Fatalf("change %d: %x, %v, want %x", i, again, err, want)
		}
		if k.all[dir] == nil {
			t.Fatalf("change %d: a folder that has long been as it is is not kept", i)
		}
		k.all[dir].start = time.Now().Add(time.Hour) // however long this takes
		if again, ok := k.kept(dir); !ok || again != want {
			t.Fatalf("change %d: a folder that is as it was is read again", i)
		}
	}
}

// What changed a moment ago may change again without another time, and what a file system
// does not tell is seen after a while: neither is kept.
func TestListingsDoNotLast(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	dir = filepath.Join(dir, "a")
	var k listings
	ahead := time.Now().Add(time.Hour) // however long this takes
	if err := os.Chtimes(dir, ahead, ahead); err != nil {
		t.Fatal(err)
	}
	if _, err := k.stampOf(dir); err != nil || k.all[dir] != nil {
		t.Errorf("a folder that has just changed is kept (%v)", err)
	}
	old(t, dir)
	if _, err := k.stampOf(dir); err != nil || k.all[dir] == nil {
		t.Fatal("a folder that has long been as it is is not kept", err)
	}
	k.all[dir].start = time.Now().Add(-listedFor)
	if _, ok := k.kept(dir); ok {
		t.Error("a folder is kept for ever")
	}
	before := k.all[dir]
	if _, err := k.stampOf(dir); err != nil || k.all[dir] == before {
		t.Error("it is not read anew", err)
	}
	k.all[dir].start = time.Now().Add(time.Hour)
	if k.prune(); k.all[dir] == nil {
		t.Error("a listing that holds is forgotten")
	}
	k.all[dir].start = time.Now().Add(-listedFor)
	if k.prune(); k.all[dir] != nil {
		t.Error("a listing is kept for ever")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if now, err := k.stampOf(dir); err == nil || now != (stamp{}) || k.all[dir] != nil {
		t.Error("a folder that is gone is kept", now, err)
	}
}

// Where a folder's time does not tell that a file has come, requests go by what was found
// before until a load looks: then by what it found, and nobody loads again.
func TestLoadsLookAnew(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	c := folders(t, dir)
	dir = filepath.Join(dir, "a")
	old(t, dir)
	before, err := c.listings.stampOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.listings.all[dir].all = nil                         // nothing tells
	c.listings.all[dir].start = time.Now().Add(time.Hour) // however long this takes
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	old(t, dir)
	if now, ok := c.listings.kept(dir); !ok || now != before {
		t.Fatal("the folder is looked at")
	}
	if _, err := c.Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if want, _ := stampOf(dir); want == before || c.listings.all[dir].stamp != want {
		t.Error("requests do not go by what the load found")
	}
}
