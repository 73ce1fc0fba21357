package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// shelf is a directory of adapters whose digest is what their weights say, and
// whose loads are counted by it.
type shelf struct {
	dir   string
	mu    sync.Mutex
	loads map[string]int
	bytes int // of each
	gate  chan struct{}
}

func (s *shelf) catalogue(t testing.TB, o Options) *Catalogue {
	t.Helper()
	s.dir, s.loads, s.bytes = t.TempDir(), map[string]int{}, max(s.bytes, 1)
	o.Dir, o.Log = s.dir, cmp.Or(o.Log, silent)
	c, err := New(func(ctx context.Context, source Source) (Adapter, error) {
		text, err := os.ReadFile(filepath.Join(source.Dir, "weights"))
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.loads[string(text)]++
		s.mu.Unlock()
		if s.gate != nil {
			select {
			case <-s.gate:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return &fakeAdapter{digest: string(text), bytes: s.bytes}, nil
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.watcher.close(); err != nil { // nothing may depend on events
		t.Fatal(err)
	}
	return c
}

// candidate is an upload: a folder that is to move to its name.
func (s *shelf) candidate(t testing.TB, name, weights string) Candidate {
	staging := filepath.Join(".incoming", weights)
	writeAdapter(t, s.dir, staging, weights)
	from, to := filepath.Join(s.dir, staging), filepath.Join(s.dir, name)
	return Candidate{Name: name, URI: from, Move: func() (string, error) {
		return to, errors.Join(os.RemoveAll(to), os.Rename(from, to))
	}}
}

// An upload is read once, checked, moved, and in memory then; what is refused
// stays where it is, and the name means what it meant.
func TestUploadIsReadOnce(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{Inspect: func(dir string) string { return "told of " + filepath.Base(dir) }})
	for _, weights := range []string{"one", "two"} {
		e, err := c.Swap(t.Context(), s.candidate(t, "x", weights))
		if err != nil || e.State != Resident || e.Digest != weights || e.URI != filepath.Join(s.dir, "x") || e.References != 0 {
			t.Fatalf("%+v, %v", e, err)
		}
		if e, err := c.Load(t.Context(), "x"); err != nil || e.Digest != weights || s.loads[weights] != 1 {
			t.Errorf("%+v, %v after %v", e, err, s.loads)
		}
	}
	if e, err := c.Lookup("x"); err != nil || e.Warning == "" {
		t.Errorf("%+v, %v", e, err)
	}
	refused := errors.New("refused")
	no := func(context.Context, Adapter) error { return refused }
	for what, change := range map[string]func(*Candidate){
		"check": func(d *Candidate) { d.Check = no },
		"probe": func(d *Candidate) { d.Probe = no },
		"move":  func(d *Candidate) { d.Move = func() (string, error) { return "", refused } },
		"new":   func(d *Candidate) { d.New = true },
	} {
		d := s.candidate(t, "x", what)
		change(&d)
		if _, err := c.Swap(t.Context(), d); !errors.Is(err, refused) && !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", what, err)
		}
		if e, err := c.Load(t.Context(), "x"); err != nil || e.Digest != "two" {
			t.Errorf("%s: %+v, %v", what, e, err)
		}
		if _, err := os.Stat(d.URI); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if used, _ := c.Bytes(); used != 1 || states(c) != "x:resident" {
		t.Errorf("%d bytes, %s", used, states(c))
	}
	if e, err := c.Lookup("x"); err != nil || e.Warning != "told of two" {
		t.Errorf("%+v, %v", e, err)
	}
	// The folder is the name's from now on.
	writeAdapter(t, s.dir, "x", "changed by hand")
	if e, err := c.Load(t.Context(), "x"); err != nil || e.Digest != "changed by hand" {
		t.Errorf("%+v, %v", e, err)
	}
}

// Uploads are read in the slots of loads, so many at a time.
func TestUploadsTakeSlots(t *testing.T) {
	s := &shelf{gate: make(chan struct{})}
	c := s.catalogue(t, Options{Loads: 2})
	var group sync.WaitGroup
	for i := range 6 {
		d := s.candidate(t, fmt.Sprint("x", i), fmt.Sprint("w", i))
		group.Go(func() {
			if _, err := c.Swap(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
	}
	for range 6 {
		reading := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.loads)
		}
		before := reading()
		for before < 2 {
			time.Sleep(time.Millisecond)
			before = reading()
		}
		if n := len(c.slots); n > 2 {
			t.Errorf("%d are read at once", n)
		}
		s.gate <- struct{}{}
	}
	group.Wait()
	if len(s.loads) != 6 {
		t.Errorf("%v", s.loads)
	}
}

// An adapter whose files tell that there is no room for it is not read before
// there is, and one that never can be never is.
func TestSizeIsKnownBeforeItIsRead(t *testing.T) {
	s := &shelf{bytes: 60}
	size := 60
	c := s.catalogue(t, Options{Bytes: 100, Wait: 50 * time.Millisecond, Size: func(string) int { return size }})
	writeAdapter(t, s.dir, "a", "aaa")
	running := hold(t, c, "a")
	if err := running.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Swap(t.Context(), s.candidate(t, "b", "bbb")); !errors.Is(err, ErrBudget) || s.loads["bbb"] != 0 {
		t.Errorf("%v, read %d times", err, s.loads["bbb"])
	}
	running.Release()
	if _, err := c.Swap(t.Context(), s.candidate(t, "b", "bbb")); err != nil || s.loads["bbb"] != 1 || states(c) != "a:known b:resident" {
		t.Errorf("%v, read %d times, %s", err, s.loads["bbb"], states(c))
	}
	size = 101
	if _, err := c.Swap(t.Context(), s.candidate(t, "c", "ccc")); !errors.Is(err, ErrSize) || s.loads["ccc"] != 0 {
		t.Errorf("%v, read %d times", err, s.loads["ccc"])
	}
	writeAdapter(t, s.dir, "d", "ddd")
	if _, err := c.Load(t.Context(), "d"); !errors.Is(err, ErrSize) || s.loads["ddd"] != 0 {
		t.Errorf("%v, read %d times", err, s.loads["ddd"])
	}
	// Files may tell too little: then it is known once it has been read.
	size, s.bytes = 10, 101
	writeAdapter(t, s.dir, "e", "eee")
	if _, err := c.Load(t.Context(), "e"); !errors.Is(err, ErrSize) || s.loads["eee"] != 1 {
		t.Errorf("%v, read %d times", err, s.loads["eee"])
	}
	free(t, c)
}

// A client that leaves ends its upload; but not while its files are being
// moved, since they belong to the name by then.
func TestUploadOfAClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLoader{}
		c := f.catalogue(t, Options{})
		for _, during := range []string{"probe", "move"} {
			ctx, leave := context.WithCancel(t.Context())
			entered, gate := make(chan struct{}), make(chan struct{})
			stop := func(ctx context.Context, at string) error {
				if at != during {
					return nil
				}
				close(entered)
				select {
				case <-gate:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			done := make(chan error, 1)
			go func() {
				_, err := c.Swap(ctx, Candidate{
					Name: during, URI: "fake://" + during,
					Probe: func(ctx context.Context, _ Adapter) error { return stop(ctx, "probe") },
					Move:  func() (string, error) { return "fake://moved", stop(context.Background(), "move") },
				})
				done <- err
			}()
			<-entered
			leave()
			synctest.Wait()
			if during == "probe" {
				if err := <-done; !errors.Is(err, context.Canceled) || states(c) != "" {
					t.Errorf("%v, %s", err, states(c))
				}
				continue
			}
			select {
			case err := <-done:
				t.Fatalf("did not wait: %v", err)
			default:
			}
			close(gate)
			if err := <-done; err != nil || states(c) != "move:resident" {
				t.Errorf("%v, %s", err, states(c))
			}
		}
		c.Close()
	})
}

// A name is locked while its files move, and not while they are read: others
// may change it meanwhile.
func TestNameIsLockedForTheMoveAlone(t *testing.T) {
	s := &shelf{gate: make(chan struct{})}
	c := s.catalogue(t, Options{})
	var moving atomic.Int32
	slow := s.candidate(t, "x", "slow")
	move := slow.Move
	slow.Move = func() (string, error) {
		if moving.Add(1) != 1 {
			t.Error("two move at once")
		}
		defer moving.Add(-1)
		return move()
	}
	done := make(chan error)
	go func() { _, err := c.Swap(t.Context(), slow); done <- err }()
	for reads := 0; reads == 0; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		reads = s.loads["slow"]
		s.mu.Unlock()
	}
	writeAdapter(t, s.dir, "x", "by hand")
	if err := c.Remove(context.Background(), "x", func(e Entry) error {
		if moving.Add(1) != 1 {
			t.Error("two move at once")
		}
		defer moving.Add(-1)
		return os.RemoveAll(e.URI)
	}); err != nil {
		t.Error(err)
	}
	s.gate <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if e, err := c.Load(t.Context(), "x"); err != nil || e.Digest != "slow" {
		t.Errorf("%+v, %v", e, err)
	}
	// One that is refused leaves everything as it is.
	refused := errors.New("refused")
	if err := c.Remove(context.Background(), "x", func(Entry) error { return refused }); !errors.Is(err, refused) || states(c) != "x:resident" {
		t.Errorf("%v, %s", err, states(c))
	}
}

// Who has left before a name was theirs changes nothing: neither a removal nor a
// swap happens later.
func TestAbandonedChangesDoNotHappen(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	if _, err := c.Swap(t.Context(), s.candidate(t, "x", "one")); err != nil {
		t.Fatal(err)
	}
	unlock, err := c.moves.lock(t.Context(), "x") // somebody's files are being moved, slowly
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	removed, swapped := make(chan error, 1), make(chan error, 1)
	go func() {
		removed <- c.Remove(ctx, "x", func(Entry) error { t.Error("its files were taken"); return nil })
	}()
	late := s.candidate(t, "x", "two")
	late.Move = func() (string, error) { t.Error("its files were moved"); return "", nil }
	go func() { _, err := c.Swap(ctx, late); swapped <- err }()
	for users := 0; users < 3; time.Sleep(time.Millisecond) {
		c.moves.mu.Lock()
		users = c.moves.locks["x"].users
		c.moves.mu.Unlock()
	}
	leave()
	for _, ended := range []chan error{removed, swapped} {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	unlock()
	if err := c.Remove(ctx, "x", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if e, err := c.Load(t.Context(), "x"); err != nil || e.Digest != "one" {
		t.Errorf("%+v, %v", e, err)
	}
	for locks := 1; locks > 0; time.Sleep(time.Millisecond) { // the swap's load ends by itself
		c.moves.mu.Lock()
		locks = len(c.moves.locks)
		c.moves.mu.Unlock()
	}
}

// Of many who register the same new name one wins.
func TestNewNamesAreTakenOnce(t *testing.T) {
	f := &fakeLoader{}
	c := f.catalogue(t, Options{})
	var won atomic.Int32
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			_, err := c.Swap(t.Context(), Candidate{Name: "x", URI: fmt.Sprint("fake://", i), New: true})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 || states(c) != "x:resident" {
		t.Errorf("%d won: %s", won.Load(), states(c))
	}
}

// However uploads of the same few names, requests for them, pins and removals
// fall together, the budget is kept, nobody waits for ever, and nothing is left of
// the waits.
func TestSwapsKeepTheBudget(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type operation struct{ what, name, bytes, wait int }
		operations := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) operation {
			return operation{
				rapid.IntRange(0, 6).Draw(rt, "what"), rapid.IntRange(0, 2).Draw(rt, "name"),
				rapid.SampledFrom([]int{20, 50, 51, 70, 99, 110}).Draw(rt, "bytes"), rapid.IntRange(0, 4).Draw(rt, "wait"),
			}
		}), 1, 40).Draw(rt, "operations")
		synctest.Test(t, func(t *testing.T) {
			f := &fakeLoader{adapters: map[string]*fakeAdapter{}}
			c := f.catalogue(t, Options{Bytes: 100, Loads: 3, Wait: time.Second, Retry: time.Nanosecond, Log: silent})
			var group sync.WaitGroup
			check := func() {
				if used, _ := c.Bytes(); used > 100 {
					t.Errorf("%d bytes", used)
				}
			}
			for _, o := range operations {
				name, digest := fmt.Sprint("n", o.name), fmt.Sprint("v", o.bytes) // some are alike
				f.mu.Lock()
				f.adapters[digest] = &fakeAdapter{digest: digest, bytes: o.bytes}
				f.mu.Unlock()
				pause := time.Duration(o.wait) * time.Millisecond
				group.Go(func() {
					defer check()
					switch o.what {
					case 0, 1:
						ctx, leave := context.WithTimeout(t.Context(), 10*time.Second)
						if o.wait == 1 {
							ctx, leave = context.WithTimeout(t.Context(), time.Millisecond)
						}
						defer leave()
						_, _ = c.Swap(ctx, Candidate{
							Name: name, URI: "fake://" + digest,
							Check: func(context.Context, Adapter) error { time.Sleep(pause); return nil },
							Move:  func() (string, error) { time.Sleep(pause); return "fake://" + digest, nil },
						})
					case 2, 3:
						if l, err := c.Acquire(name, ""); err == nil {
							_ = l.Wait(t.Context())
							check()
							time.Sleep(pause)
							l.Release()
						}
					case 4:
						_ = c.Remove(context.Background(), name, nil)
					case 5:
						_ = c.Pin(t.Context(), name)
					case 6:
						_ = c.Unpin(name)
					}
				})
				time.Sleep(pause / 2)
			}
			start := time.Now()
			group.Wait()
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
			time.Sleep(time.Second) // checks of uploads that were given up end
			free(t, c)
			for i := range 3 {
				_ = c.Remove(context.Background(), fmt.Sprint("n", i), nil)
			}
			if used, _ := c.Bytes(); used != 0 {
				t.Errorf("%d bytes are left: %s", used, states(c))
			}
			c.Close()
		})
	})
}
