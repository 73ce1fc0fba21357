package catalogue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peft-serve/peft-serve/adapters"

	"pgregory.net/rapid"
)

func add(t testing.TB, c *Catalogue, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := c.Add(n, "fake://"+n); err != nil {
			t.Fatal(err)
		}
	}
}

// states lists the catalogue as "x:resident y:known".
func states(c *Catalogue) string {
	var words []string
	for _, e := range c.List() {
		words = append(words, e.Name+":"+string(e.State))
	}
	return strings.Join(words, " ")
}

func TestEvictionIsLeastRecentlyUsed(t *testing.T) {
	f := &fakeLoader{}
	c := f.catalogue(t, Options{Bytes: 300})
	add(t, c, "a", "b", "c", "d")
	for _, n := range []string{"a", "b", "c", "a", "d"} {
		if _, err := c.Load(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if got := states(c); got != "a:resident b:known c:resident d:resident" {
		t.Error(got)
	}
	if err := c.Pin(t.Context(), "b"); err != nil { // evicts c
		t.Fatal(err)
	}
	for range 3 {
		for _, n := range []string{"c", "a", "d"} {
			if _, err := c.Load(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if e, _ := c.Lookup("b"); e.State != Resident || !e.Pinned || f.loads["b"] != 2 {
		t.Errorf("%+v after %d loads", e, f.loads["b"])
	}
	if used, budget := c.Bytes(); used != 300 || budget != 300 {
		t.Errorf("%d of %d bytes", used, budget)
	}
}

func TestWhatCannotFitEvictsNothing(t *testing.T) {
	f := &fakeLoader{adapters: map[string]*fakeAdapter{
		"big": {digest: "big", bytes: 301}, "large": {digest: "large", bytes: 250},
	}}
	c := f.catalogue(t, Options{Bytes: 300})
	add(t, c, "a", "b", "big", "large")
	if err := c.Pin(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Load(t.Context(), "big") // more than the budget, whatever else is there
	if !errors.Is(err, ErrSize) || errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), `"big"`) {
		t.Errorf("got %v", err)
	}
	_, err = c.Load(t.Context(), "large") // more than pins leave
	if !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "100 are pinned") || !strings.Contains(err.Error(), `"large"`) {
		t.Errorf("got %v", err)
	}
	if got := states(c); got != "a:resident b:resident big:failed large:failed" {
		t.Error(got)
	}
	if err := c.Unpin("a"); err != nil {
		t.Fatal(err)
	}
}

func TestLoadWaitsForRoomInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLoader{}
		c := f.catalogue(t, Options{Bytes: 100, Wait: time.Minute})
		add(t, c, "a", "b")
		held, err := c.Acquire("a", "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := make(chan error, 1)
		go func() {
			_, err := c.Load(t.Context(), "b")
			got <- err
		}()
		time.Sleep(30 * time.Second)
		select {
		case err := <-got:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		held.Release()
		held.Release() // more than once is once
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if s := states(c); s != "a:known b:resident" {
			t.Error(s)
		}
		// Nobody lets go: a clear error.
		held, err = c.Acquire("b", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Load(t.Context(), "a"); !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "100 in use") {
			t.Errorf("got %v", err)
		}
		held.Release()
		c.Close()
	})
}

func TestFailureIsSharedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		f := &fakeLoader{errors: map[string]error{"x": broken}, gates: map[string]chan struct{}{"x": make(chan struct{})}}
		c := f.catalogue(t, Options{Retry: 5 * time.Second})
		add(t, c, "x", "y")
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if _, err := c.Load(t.Context(), "x"); !errors.Is(err, broken) || !strings.Contains(err.Error(), `"x"`) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if _, err := c.Load(t.Context(), "y"); err != nil { // beside it
			t.Error(err)
		}
		close(f.gates["x"])
		group.Wait()
		if _, err := c.Load(t.Context(), "x"); !errors.Is(err, broken) || f.loads["x"] != 1 {
			t.Errorf("%v after %d loads", err, f.loads["x"])
		}
		if e, _ := c.Lookup("x"); e.State != Failed || !errors.Is(e.Err, broken) {
			t.Errorf("%+v", e)
		}
		f.errors = nil
		time.Sleep(6 * time.Second)
		if _, err := c.Load(t.Context(), "x"); err != nil || f.loads["x"] != 2 {
			t.Errorf("%v after %d loads", err, f.loads["x"])
		}
		c.Close()
	})
}

func TestCloseEndsLoads(t *testing.T) {
	f := &fakeLoader{gates: map[string]chan struct{}{"x": make(chan struct{})}}
	c := f.catalogue(t, Options{})
	add(t, c, "x")
	got := make(chan error)
	go func() {
		_, err := c.Load(context.Background(), "x")
		got <- err
	}()
	for states(c) != "x:loading" {
		time.Sleep(time.Millisecond)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Load(context.Background(), "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestRegistration(t *testing.T) {
	f := &fakeLoader{}
	dir := t.TempDir()
	writeAdapter(t, dir, "found", "1")
	c := f.catalogue(t, Options{Dir: dir})
	add(t, c, "x", "org/x:v1@main")
	for _, bad := range []string{"", ".", "..", "../x", "a/../b", "/etc", "a//b", "a/", ".hidden", "a b", "a\\b", "a\x00", "ä", strings.Repeat("a", 257)} {
		if err := c.Add(bad, "fake://x"); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v", bad, err)
		}
		if _, err := c.Lookup(bad); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	for uri, want := range map[string]error{
		"ftp://x": ErrSource, filepath.Join(dir, "absent"): ErrSource, dir: ErrSource,
		"file://host/x": ErrSource, filepath.Join(dir, "found"): nil, "file://" + filepath.Join(dir, "found"): nil,
	} {
		if err := c.Add(fmt.Sprint("n", len(uri)), uri); !errors.Is(err, want) {
			t.Errorf("%s: got %v", uri, err)
		}
	}
	if err := c.Add("x", "fake://y"); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if err := c.Add("found", "fake://found"); err != nil { // takes the folder's name over
		t.Error(err)
	}
	if err := c.Remove(context.Background(), "nobody", nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// writeAdapter makes or changes an adapter folder.
func writeAdapter(t testing.TB, dir, name, content string) {
	t.Helper()
	folder := filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"weights", configName} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// folders loads adapters whose digest is what the folder's weights say.
func folders(t testing.TB, dir string) *Catalogue {
	t.Helper()
	c, err := New(func(_ context.Context, s Source) (Adapter, error) {
		b, err := os.ReadFile(filepath.Join(s.Dir, "weights"))
		if err != nil {
			return nil, err
		}
		if string(b) == "broken" {
			return nil, errors.New("broken weights")
		}
		return &fakeAdapter{digest: string(b), bytes: len(b)}, nil
	}, Options{Dir: dir, Retry: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	os.Mkdir(filepath.Join(dir, "empty"), 0o755)
	writeAdapter(t, dir, ".hidden", "x")
	c := folders(t, dir)
	c.watcher.close() // nothing may depend on events
	if got := states(c); got != "a:known" {
		t.Error(got)
	}
	load := func(name, want string) {
		t.Helper()
		e, err := c.Load(t.Context(), name)
		if err != nil || e.Digest != want {
			t.Errorf("%s is %q (%v), want %q", name, e.Digest, err, want)
		}
	}
	load("a", "one")
	writeAdapter(t, dir, "b", "two") // appears
	load("b", "two")
	writeAdapter(t, dir, "a", "three") // changes
	load("a", "three")
	writeAdapter(t, dir, "a", "broken")
	if _, err := c.Load(t.Context(), "a"); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("a broken folder gives %v", err)
	}
	writeAdapter(t, dir, "a", "version four") // the failure is forgotten with the change
	load("a", "version four")
	if err := c.Remove(context.Background(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), "a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("removed: got %v", err)
	}
	if got := states(c); got != "b:resident" {
		t.Error(got)
	}
	writeAdapter(t, dir, "a", "fifth one")
	load("a", "fifth one")
	os.RemoveAll(filepath.Join(dir, "b"))
	if _, err := c.Load(t.Context(), "b"); !errors.Is(err, ErrUnknown) {
		t.Errorf("vanished: got %v", err)
	}
	if used, _ := c.Bytes(); states(c) != "a:resident" || used != len("fifth one") {
		t.Errorf("%s, %d bytes", states(c), used)
	}
	// Kubernetes swaps links.
	versions := t.TempDir()
	writeAdapter(t, versions, "1", "link 1")
	writeAdapter(t, versions, "2", "link two")
	os.Symlink(filepath.Join(versions, "1"), filepath.Join(dir, "linked"))
	load("linked", "link 1")
	os.Symlink(filepath.Join(versions, "2"), filepath.Join(dir, ".new"))
	os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, "linked"))
	load("linked", "link two")
}

func TestPinnedFolderIsLoadedAnewByEvent(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	c := folders(t, dir)
	if err := c.Pin(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	writeAdapter(t, dir, "a", "second")
	deadline := time.Now().Add(10 * time.Second)
	for {
		c.mu.Lock()
		v := c.records["a"].current
		c.mu.Unlock()
		if v.adapter.Digest() == "second" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no event came")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestResidenceAccounting: vLLM#45325, #54830. Whatever is done, the gauge is
// the sum over the list, stays within the budget while loads succeed, and
// falls to nothing.
func TestResidenceAccounting(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := &fakeLoader{adapters: map[string]*fakeAdapter{}}
		c := f.catalogue(t, Options{Bytes: 500, Wait: time.Millisecond})
		defer c.Close()
		versions := 0
		names := []string{"a", "b", "c", "d", "e"}
		uri := func() string {
			versions++
			d := fmt.Sprint("v", versions)
			f.mu.Lock()
			f.adapters[d] = &fakeAdapter{digest: d, bytes: rapid.IntRange(1, 300).Draw(rt, "bytes")}
			f.mu.Unlock()
			return "fake://" + d
		}
		var leases []*Lease
		for range rapid.IntRange(1, 40).Draw(rt, "operations") {
			name := rapid.SampledFrom(names).Draw(rt, "name")
			switch rapid.IntRange(0, 6).Draw(rt, "operation") {
			case 0:
				c.Add(name, uri())
			case 1:
				c.Replace(name, uri())
			case 2:
				c.Remove(context.Background(), name, nil)
			case 3:
				c.Pin(t.Context(), name)
			case 4:
				c.Unpin(name)
			case 5:
				if l, err := c.Acquire(name, ""); err == nil {
					leases = append(leases, l)
				}
			case 6:
				if len(leases) > 0 {
					leases[0].Release()
					leases = leases[1:]
				}
			}
			c.mu.Lock()
			sum := 0
			for _, v := range c.versions.all() {
				sum += v.bytes
			}
			used := c.versions.used
			c.mu.Unlock()
			if used > 500 || used != sum {
				rt.Fatalf("the gauge is %d, the versions make %d: %s", used, sum, states(c))
			}
		}
		c.work.Wait()
		sum := 0
		for _, e := range c.List() {
			sum += e.Bytes
		}
		if used, _ := c.Bytes(); used != sum {
			rt.Fatalf("the gauge is %d, the list makes %d: %s", used, sum, states(c))
		}
		for _, l := range leases {
			l.Release()
		}
		for _, n := range names {
			c.Remove(context.Background(), n, nil)
		}
		c.Close()
		if used, _ := c.Bytes(); used != 0 || len(c.List()) != 0 {
			rt.Fatalf("%d bytes are left: %s", used, states(c))
		}
	})
}

// A file of llama.cpp's is an adapter of its name, until there is a folder of that.
func TestGGUFFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.gguf", "one")
	os.Mkdir(filepath.Join(dir, "in"), 0o755)
	write("in/b.gguf", "two")
	var loaded []string
	c, err := New(func(_ context.Context, s Source) (Adapter, error) {
		loaded = append(loaded, strings.TrimPrefix(s.Dir, dir+"/"))
		content, err := os.ReadFile(s.Dir)
		return &fakeAdapter{digest: string(content) + filepath.Base(s.Dir), bytes: 10}, errors.Join(err)
	}, Options{Dir: dir, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.watcher.close()
	if got := states(c); got != "a:known in:known" {
		t.Error(got)
	}
	load := func(name, want string) {
		t.Helper()
		if e, err := c.Load(t.Context(), name); err != nil || e.Digest != want {
			t.Errorf("%s is %q (%v), want %q", name, e.Digest, err, want)
		}
	}
	load("a", "onea.gguf")
	write("a.gguf", "three") // changes
	load("a", "threea.gguf")
	write("late.gguf", "four") // appears
	load("late", "fourlate.gguf")
	if _, err := c.Load(t.Context(), "a.gguf"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Load(t.Context(), "in"); err == nil || loaded[len(loaded)-1] != "in" {
		t.Errorf("got %v of %s", err, loaded)
	}
	os.Mkdir(filepath.Join(dir, "a"), 0o755) // a folder takes the name, whatever it holds
	if _, err := c.Load(t.Context(), "a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	os.Remove(filepath.Join(dir, "a"))
	load("a", "threea.gguf")
	os.Remove(filepath.Join(dir, "a.gguf")) // vanishes
	if _, err := c.Load(t.Context(), "a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// What a folder holds is what the adapters' reader finds in it: what other programs leave
// beside files, with names that begin with a dot, is no adapter.
func TestHoldsWhatIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		holds bool
	}{
		"nothing":       {},
		"PEFT's":        {[]string{configName, "._x.gguf"}, true},
		"llama.cpp's":   {[]string{"x.gguf", "._x.gguf"}, true},
		"two":           {[]string{"x.gguf", "y.gguf"}, true}, // which reading refuses
		"only its mark": {[]string{"._x.gguf"}, false},
	} {
		dir := t.TempDir()
		for _, file := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		file, err := adapters.GGUFIn(dir)
		read := file != "" || err != nil || slices.Contains(c.files, configName)
		if got := Holds(dir); got != c.holds || got != read {
			t.Errorf("%s: %t, and %q is read (%v)", name, got, file, err)
		}
		if now, _ := stampOf(dir); (now != stamp{}) != c.holds {
			t.Errorf("%s has the stamp %x", name, now)
		}
	}
}

// What is registered under another path than that of its name is known by that alone,
// without a look at the disk.
func TestElsewhere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file.gguf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := &Catalogue{options: Options{Dir: dir}}
	for _, at := range []struct {
		name, uri string
		want      bool
	}{
		{"folder", filepath.Join(dir, "folder"), false},
		{"folder", filepath.Join(dir, "folder.gguf"), true},
		{"file", filepath.Join(dir, "file.gguf"), false},
		{"file", filepath.Join(dir, "file"), true},
		{"x.gguf", filepath.Join(dir, "x.gguf"), false},
		{"folder", "/elsewhere/folder", true},
	} {
		if got := c.elsewhere(&record{name: at.name, uri: at.uri}); got != at.want {
			t.Errorf("%s at %s: %t", at.name, at.uri, got)
		}
	}
	r := &record{name: "folder", uri: "/elsewhere/folder"}
	if n := testing.AllocsPerRun(100, func() { c.elsewhere(r) }); n > 1 { // the path that is compared
		t.Errorf("it allocates %v times, as a look at the disk does", n)
	}
}
