package catalogue

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// What a name means changes only when its new version has loaded, whatever the
// scheme.
func TestSwapReplacesOnlyWhatLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := &fakeLoader{adapters: map[string]*fakeAdapter{"copy": {digest: "two", bytes: 100}}, errors: map[string]error{"bad": errors.New("bad")}, gates: map[string]chan struct{}{"slow": gate}}
		c := f.catalogue(t, Options{Bytes: 200})
		digest := func() string {
			e, err := c.Load(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			return e.Digest
		}
		if _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: "fake://bad"}); err == nil || states(c) != "" {
			t.Fatalf("%v, %s", err, states(c))
		}
		if e, err := c.Swap(t.Context(), Candidate{Name: "x", URI: "fake://one"}); err != nil || e.Digest != "one" || e.State != Resident {
			t.Fatalf("%+v, %v", e, err)
		}
		if err := c.Pin(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		var named *AdapterError
		if _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: "fake://bad"}); !errors.As(err, &named) || named.Name != "x" {
			t.Fatal(err)
		}
		if e, _ := c.Lookup("x"); e.State != Resident || e.Digest != "one" || e.Err != nil || e.URI != "fake://one" {
			t.Errorf("%+v", e)
		}

		// While the new version loads the old one serves; a client that leaves
		// changes nothing.
		ctx, cancel := context.WithCancel(t.Context())
		swapped := make(chan error)
		go func() { _, err := c.Swap(ctx, Candidate{Name: "x", URI: "fake://slow"}); swapped <- err }()
		synctest.Wait()
		if digest() != "one" {
			t.Error("replaced too early")
		}
		cancel()
		if err := <-swapped; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(gate)
		synctest.Wait()
		if digest() != "one" {
			t.Error("replaced by what nobody waited for")
		}

		// A request keeps its version; the pin goes over to the new one.
		l, err := c.Acquire("x", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: "fake://two"}); err != nil || digest() != "two" || l.Digest() != "one" {
			t.Errorf("%v: %s and %s", err, digest(), l.Digest())
		}
		if e, _ := c.Lookup("x"); !e.Pinned || states(c) != "x:resident x:draining" {
			t.Errorf("%+v, %s", e, states(c))
		}
		l.Release()
		if used, _ := c.Bytes(); used != 100 {
			t.Errorf("%d bytes", used)
		}

		// The same content from elsewhere stays in memory.
		loads := f.loads["two"]
		if e, err := c.Swap(t.Context(), Candidate{Name: "x", URI: "fake://copy"}); err != nil || e.URI != "fake://copy" || !e.Pinned || states(c) != "x:resident" {
			t.Errorf("%+v, %v, %s", e, err, states(c))
		}
		if digest() != "two" || f.loads["two"] != loads {
			t.Error("loaded again")
		}
		if used, _ := c.Bytes(); used != 100 {
			t.Errorf("%d bytes", used)
		}
	})
}

// A folder that is no adapter's, and one that vanished, name nothing.
func TestSwapNeedsASource(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	c := folders(t, dir)
	if _, err := c.Swap(t.Context(), Candidate{Name: "a", URI: filepath.Join(dir, "none")}); !errors.Is(err, ErrSource) {
		t.Error(err)
	}
	if _, err := c.Swap(t.Context(), Candidate{Name: "../a", URI: filepath.Join(dir, "a")}); !errors.Is(err, ErrName) {
		t.Error(err)
	}
	if e, err := c.Swap(t.Context(), Candidate{Name: "b", URI: filepath.Join(dir, "a")}); err != nil || e.Name != "b" || states(c) != "a:known b:resident" {
		t.Errorf("%+v, %v, %s", e, err, states(c))
	}
}

// Adapters on the disk load while all downloads are held up.
func TestDownloadsHoldUpOnlyThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		f := &fakeLoader{}
		c, err := New(f.load, Options{Loads: 1, Schemes: map[string]Scheme{
			"slow": slow, "fake": func(context.Context, string) (string, error) { return "/", nil },
		}})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		writeAdapter(t, dir, "a", "one")
		for name, uri := range map[string]string{"s": "slow://s", "a": filepath.Join(dir, "a")} {
			if err := c.Add(name, uri); err != nil {
				t.Fatal(err)
			}
		}
		waits, err := c.Acquire("s", "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Load(ctx, "a"); err != nil {
			t.Error(err)
		}
		waits.Release()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
