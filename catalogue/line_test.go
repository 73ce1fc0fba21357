package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// waits counts the waits for room and the loads that the catalogue tells of.
type waits struct {
	Silent
	mu    sync.Mutex
	waits []time.Duration
	loads []time.Duration
}

func (w *waits) Waited(_ string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits = append(w.waits, d)
}

func (w *waits) Loaded(_ string, d time.Duration, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loads = append(w.loads, d)
}

// sized makes a loader of adapters with these sizes.
func sized(bytes map[string]int) *fakeLoader {
	f := &fakeLoader{adapters: map[string]*fakeAdapter{}}
	for n, b := range bytes {
		f.adapters[n] = &fakeAdapter{digest: n, bytes: b}
	}
	return f
}

func hold(t testing.TB, c *Catalogue, name string) *Lease {
	t.Helper()
	l, err := c.Acquire(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ready demands which holds have their adapter.
func ready(t testing.TB, what string, want bool, leases ...*Lease) {
	t.Helper()
	synctest.Wait()
	for i, l := range leases {
		if l.Ready() != want || want && l.err != nil {
			t.Errorf("%s: hold %d: ready %v, %v, want %v", what, i, l.Ready(), l.err, want)
		}
	}
}

// free demands that nothing is left of any wait.
func free(t testing.TB, c *Catalogue) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.line) > 0 || c.versions.promised != 0 || c.versions.evicting {
		t.Errorf("%d in line, %d bytes promised, evicting: %v", len(c.line), c.versions.promised, c.versions.evicting)
	}
	for _, v := range c.versions.all() {
		if v.evictFor != nil {
			t.Errorf("%s is still to leave", v.record.name)
		}
	}
}

// Loads that wait for room hold up neither those that fit nor, as it is their
// turn first, are held up by an adapter that is in use without a pause.
func TestLineForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sized(map[string]int{"lora": 98, "dora": 110, "houlsby": 104, "bench-0": 18, "bench-1": 18})
		w := &waits{}
		c := f.catalogue(t, Options{Bytes: 120, Loads: 1, Observer: w})
		add(t, c, "lora", "dora", "houlsby", "bench-0", "bench-1")
		running := hold(t, c, "lora")
		ready(t, "the first", true, running)
		dora, houlsby := hold(t, c, "dora"), hold(t, c, "houlsby")
		ready(t, "no room", false, dora, houlsby)

		small := hold(t, c, "bench-0")
		ready(t, "fits beside lora", true, small)
		small.Release()
		small = hold(t, c, "bench-1")
		ready(t, "fits for bench-0", true, small)
		more := hold(t, c, "lora")
		ready(t, "has to leave for dora", false, more)

		time.Sleep(3 * time.Second)
		if running.Digest() != "lora" {
			t.Error("what runs was cut")
		}
		running.Release()
		ready(t, "bench-1 is in use", false, dora)
		small.Release()
		ready(t, "its turn", true, dora)
		ready(t, "not theirs", false, houlsby, more)
		dora.Release()
		ready(t, "its turn", true, houlsby)
		ready(t, "not its", false, more)
		houlsby.Release()
		ready(t, "its turn", true, more)
		if more.Digest() != "lora" {
			t.Error(more.Digest())
		}
		more.Release()
		free(t, c)

		// Reading takes no time here; each of three waited.
		if len(w.waits) != 3 || slices.Max(w.waits) != 3*time.Second || slices.Max(w.loads) != 0 {
			t.Errorf("waits %v, loads %v", w.waits, w.loads)
		}
		c.Close()
	})
}

// Only as many versions as needed are to leave, and they come back to those
// who asked for them when that proves needless.
func TestLineSparesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sized(nil)
		c := f.catalogue(t, Options{Bytes: 300})
		add(t, c, "a", "b", "c", "d")
		running := []*Lease{hold(t, c, "a"), hold(t, c, "b"), hold(t, c, "c")}
		ready(t, "room", true, running...)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := c.Load(ctx, "d"); left <- err }()
		synctest.Wait()
		var waiting []*Lease
		for _, n := range []string{"a", "b", "c"} {
			l := hold(t, c, n)
			synctest.Wait()
			if !l.Ready() {
				waiting = append(waiting, l)
			}
			running = append(running, l)
		}
		if len(waiting) != 1 {
			t.Errorf("%d versions are to leave", len(waiting))
		}
		leave() // a client that goes away leaves the line
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		ready(t, "nobody waits", true, running...)
		if e, _ := c.Lookup("d"); e.State != Known || f.loads["a"]+f.loads["b"]+f.loads["c"] != 3 {
			t.Errorf("%+v, loads %v", e, f.loads)
		}
		for _, l := range running {
			l.Release()
		}
		free(t, c)
		if _, err := c.Load(t.Context(), "d"); err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

// The first in line is let wait by so many that fit, and no more.
func TestLineIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bytes := map[string]int{"large": 100, "busy": 50}
		for i := range patience + 2 {
			bytes[fmt.Sprint("s", i)] = 10
		}
		f := sized(bytes)
		c := f.catalogue(t, Options{Bytes: 100})
		add(t, c, "large", "busy")
		busy := hold(t, c, "busy")
		synctest.Wait()
		large := hold(t, c, "large")
		ready(t, "no room", false, large)
		for i := range patience + 2 {
			name := fmt.Sprint("s", i)
			add(t, c, name)
			l := hold(t, c, name)
			ready(t, name, i < patience, l)
			if i < patience {
				l.Release()
				continue
			}
			defer l.Release()
		}
		busy.Release()
		ready(t, "its turn", true, large)
		large.Release()
		synctest.Wait()
		free(t, c)
		c.Close()
	})
}

// A pin that leaves no room ends the wait; what waits its time out gets a clear
// error, and a version that stayed after all serves those who waited for it.
func TestLineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sized(nil)
		c := f.catalogue(t, Options{Bytes: 100, Wait: 10 * time.Second, Retry: time.Nanosecond})
		add(t, c, "a", "b")
		running := hold(t, c, "a")
		synctest.Wait()
		late := hold(t, c, "b")
		synctest.Wait()
		time.Sleep(time.Second)
		again := hold(t, c, "a")
		ready(t, "to leave", false, again)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if !late.Ready() || !errors.Is(late.err, ErrBudget) || !strings.Contains(late.err.Error(), "100 in use") {
			t.Errorf("%v, %v", late.Ready(), late.err)
		}
		ready(t, "stayed", true, again)
		again.Release()
		time.Sleep(time.Millisecond)

		late = hold(t, c, "b")
		synctest.Wait()
		pinned := make(chan error)
		go func() { pinned <- c.Pin(t.Context(), "a") }()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := <-pinned; err != nil || !errors.Is(late.err, ErrBudget) {
			t.Errorf("%v, %v", err, late.err)
		}
		time.Sleep(time.Millisecond)
		late = hold(t, c, "b")
		synctest.Wait()
		if !late.Ready() || !errors.Is(late.err, ErrBudget) || !strings.Contains(late.err.Error(), "100 are pinned") {
			t.Errorf("%v, %v", late.Ready(), late.err)
		}
		running.Release()
		free(t, c)
		c.Close()
	})
}

// A folder that was in memory is read once to be there again.
func TestKnownSizeIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	writeAdapter(t, dir, "a", "aaa")
	writeAdapter(t, dir, "b", "bbb")
	loads := map[string]int{}
	c, err := New(func(_ context.Context, s Source) (Adapter, error) {
		loads[s.Name]++
		return &fakeAdapter{digest: s.Name, bytes: 100}, nil
	}, Options{Dir: dir, Bytes: 100, Loads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	load := func(name string) {
		t.Helper()
		if _, err := c.Load(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	load("a")
	load("b")
	running := hold(t, c, "b")
	l, err := c.Acquire("a", "")
	if err != nil {
		t.Fatal(err)
	}
	for inLine := 0; inLine == 0; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		inLine = len(c.line)
		c.mu.Unlock()
	}
	running.Release()
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Release()
	if loads["a"] != 2 || loads["b"] != 1 {
		t.Errorf("loads %v", loads)
	}
	free(t, c)
}

// A version in use without a pause is replaced all the same, where both do not
// fit: those who come meanwhile get the new one.
func TestSwapOfABusyAdapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sized(nil)
		gate := make(chan struct{})
		f.gates = map[string]chan struct{}{"two": gate}
		c := f.catalogue(t, Options{Bytes: 100})
		if err := c.Add("x", "fake://one"); err != nil {
			t.Fatal(err)
		}
		running := hold(t, c, "x")
		ready(t, "room", true, running)
		swapped := make(chan error)
		go func() { _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: "fake://two"}); swapped <- err }()
		synctest.Wait()
		beside := hold(t, c, "x")
		ready(t, "while it is read", true, beside)
		gate <- struct{}{} // read, and let go
		synctest.Wait()
		late := hold(t, c, "x")
		ready(t, "to be replaced", false, late)
		running.Release()
		beside.Release()
		synctest.Wait() // being read again, in the room of the one it replaces
		later := hold(t, c, "x")
		ready(t, "being replaced", false, late, later)
		close(gate)
		if err := <-swapped; err != nil {
			t.Fatal(err)
		}
		ready(t, "replaced", true, late, later)
		if late.Digest() != "two" || later.Digest() != "two" {
			t.Error(late.Digest(), later.Digest())
		}
		late.Release()
		later.Release()
		free(t, c)
		c.Close()
	})
}

// Whatever holds come and go, each gets its adapter or an error in the end, the
// budget is kept, and nothing is left of the waits.
func TestLineIsFair(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}
		bytes := map[string]int{}
		for _, n := range names {
			bytes[n] = rapid.IntRange(1, 120).Draw(rt, "bytes")
		}
		pin := rapid.SampledFrom(append(names, "")).Draw(rt, "pinned")
		requests := rapid.SliceOfN(rapid.SampledFrom(names), 1, 60).Draw(rt, "requests")
		synctest.Test(t, func(t *testing.T) {
			f := sized(bytes)
			c := f.catalogue(t, Options{Bytes: 120, Loads: 2, Wait: time.Hour, Retry: time.Nanosecond})
			add(t, c, names...)
			if pin != "" {
				if err := c.Pin(t.Context(), pin); err != nil {
					t.Fatal(err)
				}
			}
			var group sync.WaitGroup
			for i, n := range requests {
				time.Sleep(time.Duration(i%3) * time.Millisecond)
				group.Go(func() {
					l, err := c.Acquire(n, "")
					if err != nil {
						if !errors.Is(err, ErrBudget) {
							t.Error(err)
						}
						return
					}
					defer l.Release()
					if i%7 == 6 {
						return // leaves at once
					}
					_ = l.Wait(t.Context())
					if l.err == nil && l.Digest() != n || l.err != nil && (pin == "" || !errors.Is(l.err, ErrBudget)) {
						t.Errorf("%s: %q, %v", n, l.Digest(), l.err)
					}
					if used, budget := c.Bytes(); used > budget {
						t.Errorf("%d bytes of %d", used, budget)
					}
					time.Sleep(time.Duration(i%5) * time.Millisecond)
				})
			}
			start := time.Now()
			group.Wait()
			synctest.Wait()
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
			free(t, c)
			c.Close()
		})
	})
}
