package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
)

// A load that fails because its name was removed or given to another adapter
// meanwhile blames neither: those who wait get what the name means now.
func TestNameChangesWhileItIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := &fakeLoader{
			gates:  map[string]chan struct{}{"gone": gate, "old": gate},
			errors: map[string]error{"gone": fs.ErrNotExist, "old": fs.ErrNotExist},
		}
		c := f.catalogue(t, Options{})
		add(t, c, "gone", "old")
		removed, replaced := hold(t, c, "gone"), hold(t, c, "old")
		synctest.Wait()
		before, _, err := c.resolve("old", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Remove(context.Background(), "gone", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Replace("old", "fake://new"); err != nil {
			t.Fatal(err)
		}
		close(gate)
		synctest.Wait()
		if !removed.Ready() || !errors.Is(removed.err, ErrUnknown) {
			t.Errorf("removed: %v, %v", removed.Ready(), removed.err)
		}
		ready(t, "replaced", true, replaced)
		if replaced.Digest() != "new" {
			t.Errorf("replaced: %q", replaced.Digest())
		}
		// Who looked the name up before, and comes only now.
		late := c.newLease("old")
		c.mu.Lock()
		c.provide(late, before, stamp{})
		c.mu.Unlock()
		ready(t, "late", true, late)
		if late.Digest() != "new" {
			t.Errorf("late: %q", late.Digest())
		}
		late.Release()
		replaced.Release()
		c.Close()
	})
}

// In line for room, too.
func TestNameChangesInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sized(map[string]int{"new": 10})
		c := f.catalogue(t, Options{Bytes: 110})
		add(t, c, "a", "gone", "old")
		running := hold(t, c, "a")
		synctest.Wait()
		removed, replaced := hold(t, c, "gone"), hold(t, c, "old")
		ready(t, "no room", false, removed, replaced)
		if err := c.Replace("old", "fake://new"); err != nil {
			t.Fatal(err)
		}
		if err := c.Remove(context.Background(), "gone", nil); err != nil {
			t.Fatal(err)
		}
		ready(t, "replaced", true, replaced)
		if replaced.Digest() != "new" || !errors.Is(removed.err, ErrUnknown) {
			t.Errorf("%q, %v", replaced.Digest(), removed.err)
		}
		replaced.Release()
		running.Release()
		free(t, c)
		c.Close()
	})
}

// A registered folder that is gone makes its name unknown.
func TestFolderIsGone(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	writeAdapter(t, elsewhere, "a", "one")
	c := folders(t, dir)
	if err := c.Add("x", filepath.Join(elsewhere, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(elsewhere, "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), "x"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// Requests while an adapter comes and goes are answered by it, or told that it
// is unknown.
func TestRequestsWhileAnAdapterComesAndGoes(t *testing.T) {
	dir := t.TempDir()
	c := folders(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Load(ctx, "x"); err != nil && !errors.Is(err, ErrUnknown) && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	place := filepath.Join(dir, "x")
	for i := range 100 {
		writeAdapter(t, dir, ".new", fmt.Sprint("version", i))
		if err := os.Rename(filepath.Join(dir, ".new"), place); err != nil {
			t.Fatal(err)
		}
		if err := c.Replace("x", place); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Load(ctx, "x"); err != nil {
			t.Error(err)
		}
		if err := c.Remove(context.Background(), "x", nil); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Rename(place, filepath.Join(dir, ".old")), os.RemoveAll(filepath.Join(dir, ".old"))); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	group.Wait()
}
