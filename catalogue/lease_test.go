package catalogue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// outcomes are the ends of loads that the catalogue tells of.
type outcomes struct {
	Silent
	mu   sync.Mutex
	errs []error
}

func (o *outcomes) Loaded(_ string, _ time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, err)
}

// A lease keeps its version whatever becomes of the name, until all its holders
// have released it, each once.
func TestLease(t *testing.T) {
	f := &fakeLoader{adapters: map[string]*fakeAdapter{"one": {digest: "one", bytes: 100, template: "T"}}}
	c := f.catalogue(t, Options{})
	if err := c.Add("x", "fake://one"); err != nil {
		t.Fatal(err)
	}
	l, err := c.Acquire("x", "")
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan struct{}, 2)
	l.OnReady(func() { calls <- struct{}{} })
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-calls
	l.OnReady(func() { calls <- struct{}{} })
	<-calls
	if l.Name() != "x" || l.Digest() != "one" || l.ChatTemplate().Text != "T" || l.Tokenizer() != nil || l.Version() != 1 {
		t.Errorf("%q %q %v %d", l.Name(), l.Digest(), l.ChatTemplate(), l.Version())
	}
	l.Hold()
	if err := c.Replace("x", "fake://two"); err != nil {
		t.Fatal(err)
	}
	if e, err := c.Load(t.Context(), "x"); err != nil || e.Digest != "two" || l.Digest() != "one" {
		t.Errorf("%+v, %v, %q", e, err, l.Digest())
	}
	l.Release()
	if got := states(c); got != "x:resident x:draining" {
		t.Errorf("one holder is left: %s", got)
	}
	for range 2 { // more than once is once
		l.Release()
		if got := states(c); got != "x:resident" {
			t.Errorf("nobody is left: %s", got)
		}
	}
	var base *Lease
	base.Hold().Release()
	if !base.Ready() || base.Err() != nil || base.Wait(t.Context()) != nil || base.Name()+base.Digest() != "" || base.Version() != 0 || base.Adapter() != nil {
		t.Error("the base's lease")
	}
	loose := LeaseOf("y", &fakeAdapter{digest: "d"})
	if loose.Hold().Release(); loose.Name() != "y" || loose.Digest() != "d" || !loose.Ready() || loose.Version() < 1<<63 {
		t.Error("a lease on no catalogue's adapter")
	}
	fault := errors.New("fault")
	if err := loose.Withdraw(fault); !errors.Is(err, fault) {
		t.Error(err)
	}
}

// A load that nobody waits for any more is cancelled, and blames nobody; who
// comes then begins anew. One that somebody else waits for goes on.
func TestAbandonedLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := &fakeLoader{gates: map[string]chan struct{}{"x": gate}}
		o := &outcomes{}
		c := f.catalogue(t, Options{Loads: 1, Observer: o})
		add(t, c, "x", "y")
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := c.Load(ctx, "x"); left <- err }()
		synctest.Wait()
		stays := hold(t, c, "x")
		waits := hold(t, c, "y") // for the only slot
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		ready(t, "one of two left", false, stays, waits)
		if states(c) != "x:loading y:loading" || f.loads["x"] != 1 {
			t.Errorf("%s after %v", states(c), f.loads)
		}
		stays.Release()
		ready(t, "the slot is free", true, waits)
		if states(c) != "x:known y:resident" || len(o.errs) != 2 || !errors.Is(o.errs[0], context.Canceled) {
			t.Errorf("%s, %v", states(c), o.errs)
		}
		again := hold(t, c, "x")
		ready(t, "begun anew", false, again)
		close(gate)
		ready(t, "loaded", true, again)
		if f.loads["x"] != 2 {
			t.Errorf("%d loads", f.loads["x"])
		}
		again.Release()
		waits.Release()
		c.Close()
	})
}

// A download ends with those who wait for it.
func TestAbandonedDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		f := &fakeLoader{}
		c, err := New(f.load, Options{Schemes: map[string]Scheme{"slow": func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return "", ctx.Err()
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Add("x", "slow://x"); err != nil {
			t.Fatal(err)
		}
		l := hold(t, c, "x")
		ready(t, "downloading", false, l)
		l.Release()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		if e, err := c.Lookup("x"); err != nil || e.State != Known {
			t.Errorf("%+v, %v", e, err)
		}
		c.Close()
	})
}

// What a pin wants is loaded though no request waits, until the pin ends.
func TestPinnedLoadIsNotAbandoned(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "one")
	gate := make(chan struct{})
	entered, cancelled := make(chan struct{}, 2), make(chan struct{}, 1)
	c, err := New(func(ctx context.Context, _ Source) (Adapter, error) {
		entered <- struct{}{}
		select {
		case <-gate:
			return &fakeAdapter{digest: "a", bytes: 1}, nil
		case <-ctx.Done():
			cancelled <- struct{}{}
			return nil, ctx.Err()
		}
	}, Options{Dir: dir, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.watcher.close(); err != nil { // nothing may depend on events
		t.Fatal(err)
	}
	go func() { gate <- struct{}{} }()
	if err := c.Pin(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	<-entered
	writeAdapter(t, dir, "a", "second")
	if err := c.Rescan(); err != nil {
		t.Fatal(err)
	}
	<-entered
	l := hold(t, c, "a")
	l.Release()
	if e, _ := c.Lookup("a"); e.State != Loading {
		t.Errorf("with its pin: %+v", e)
	}
	if err := c.Unpin("a"); err != nil {
		t.Fatal(err)
	}
	if e, _ := c.Lookup("a"); e.State != Known {
		t.Errorf("without: %+v", e)
	}
	<-cancelled
}

// What has failed is tried again once the time for that has come, and not before.
func TestTry(t *testing.T) {
	broken := errors.New("a tensor is missing")
	for retry, want := range map[time.Duration]error{time.Hour: broken, time.Nanosecond: nil} {
		f := &fakeLoader{errors: map[string]error{"x": broken}}
		c := f.catalogue(t, Options{Retry: retry, Log: silent})
		require.NoError(t, c.Add("x", "fake://x"))
		_, err := c.Load(t.Context(), "x")
		require.ErrorIs(t, err, broken)
		e, err := c.Lookup("x")
		require.NoError(t, err)
		require.Equal(t, Failed, e.State)
		require.ErrorIs(t, c.Try(t.Context(), e), broken, "it still fails")
		delete(f.errors, "x")
		require.ErrorIs(t, c.Try(t.Context(), e), want)
		e, err = c.Lookup("x")
		require.NoError(t, err)
		require.Equal(t, want == nil, e.State == Resident)
		require.NoError(t, c.Remove(t.Context(), "x", nil))
		require.ErrorIs(t, c.Try(t.Context(), e), ErrUnknown)
	}
}

// Many names at once get what each gets alone, where that is in memory, and see each
// change that has been made before: of a folder written in place, of an alias, and of the
// folder of aliases. What is not in memory is not loaded for them.
func TestAcquireAll(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		writeAdapter(t, dir, name, "one")
	}
	writeAdapter(t, filepath.Join(dir, VersionsFolder, "b"), "six", "six")
	c := folders(t, dir)
	alias := func(text string) func() error {
		return func() error {
			return errors.Join(os.MkdirAll(c.options.Aliases, 0o755), os.WriteFile(AliasFile(c.options.Aliases, "b"), []byte(text), 0o644))
		}
	}
	names := []string{"c", "nobody", "a", "../a", "b", "a"}
	for i, step := range []struct {
		change        func() error
		before, after string // what has to be loaded has been
	}{
		{func() error { return nil }, "none - none - none none", "one - one - one one"},
		{func() error { return os.WriteFile(filepath.Join(dir, "a", "weights"), []byte("two"), 0o644) }, "one - none - one none", "one - two - one two"},
		{alias("live: six"), "one - two - none two", "one - two - six two"},
		{func() error { return os.RemoveAll(c.options.Aliases) }, "one - two - none two", "one - two - one two"},
		{func() error { return os.RemoveAll(filepath.Join(dir, "c")) }, "- - two - one two", "- - two - one two"},
	} {
		for _, name := range []string{"a", "b", "c"} {
			old(t, filepath.Join(dir, name)) // as it has long been, so that what is found in it is kept
		}
		before, _ := c.AcquireAll(names, "")
		for _, l := range before {
			l.Release()
		}
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{step.before, step.after} {
			leases, faults := c.AcquireAll(names, "")
			for _, e := range c.Entries() {
				require.NotEqual(t, Loading, e.State, e.Name)
			}
			var got []string
			for j, l := range leases {
				alone, err := c.Acquire(names[j], "")
				require.Equal(t, err, faults[j])
				switch {
				case err != nil:
					got = append(got, "-")
				case l == nil:
					got = append(got, "none")
					require.NoError(t, alone.Wait(t.Context()), names[j])
				default:
					require.True(t, l.Ready())
					got = append(got, l.Digest())
					require.Equal(t, l.Name(), alone.Name())
					require.Equal(t, l.Digest(), alone.Digest())
					require.Equal(t, l.Versioned(), alone.Versioned())
				}
				l.Release()
				alone.Release()
			}
			require.Equal(t, want, strings.Join(got, " "), "change %d", i)
		}
	}
	for _, e := range c.Entries() {
		require.Zero(t, e.References, e.Name)
	}
	c.Close()
	_, faults := c.AcquireAll(names[:1], "")
	require.Error(t, faults[0])
}

// What is sought among the names is found in their order, each once.
func TestMatch(t *testing.T) {
	f := &fakeLoader{adapters: map[string]*fakeAdapter{"one": {digest: "one", bytes: 100}}}
	c := f.catalogue(t, Options{})
	for _, name := range []string{"b", "ab", "a", "ac"} {
		require.NoError(t, c.Add(name, "fake://one"))
	}
	_, err := c.Load(t.Context(), "ac")
	require.NoError(t, err)
	require.NoError(t, c.Remove(t.Context(), "ab", nil))
	require.Equal(t, []Match{{"a", false}, {"ac", true}}, c.Match(func(name string) bool { return name[0] == 'a' }))
}

// A name with a canary has a version in memory where either is.
func TestMatchCanary(t *testing.T) {
	for _, percent := range []int{0, 100} { // who has asked: the session gets the live version, or the canary
		s := &shelf{bytes: 100}
		c := s.catalogue(t, Options{Bytes: 1000})
		s.lay(t, "x", "one", "two")
		s.says(t, "x", fmt.Sprintf("live: one\ncanary: {digest: two, percent: %d}", percent))
		require.NoError(t, c.Rescan())
		all := func(string) bool { return true }
		require.Equal(t, []Match{{"x", false}}, c.Match(all))
		require.Equal(t, map[int]string{0: "one", 100: "two"}[percent], answersWith(t, c, "x", "s"))
		require.Equal(t, []Match{{"x", true}}, c.Match(all))
	}
}
