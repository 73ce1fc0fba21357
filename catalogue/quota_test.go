package catalogue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// byLetter is whose adapter a name is: what stands before its first dash.
func byLetter(quotas map[string]int) func(string) (string, int) {
	return func(name string) (string, int) {
		owner, _, _ := strings.Cut(name, "-")
		return owner, quotas[owner]
	}
}

// What an owner has no more room for makes the owner's own idle versions leave,
// and nobody else's; where they are in use or pinned, the load fails at once.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sized(map[string]int{"a-huge": 301})
		c := f.catalogue(t, Options{Bytes: 1000, Owner: byLetter(map[string]int{"a": 300}), Retry: time.Nanosecond})
		add(t, c, "a-1", "a-2", "a-3", "a-4", "a-huge", "b-1", "b-2")
		first := hold(t, c, "b-1")
		ready(t, "b", true, first)
		first.Release()
		for _, name := range []string{"a-1", "a-2", "a-3", "a-4"} {
			l := hold(t, c, name)
			ready(t, name, true, l)
			l.Release()
			time.Sleep(time.Second)
		}
		if got := states(c); got != "a-1:known a-2:resident a-3:resident a-4:resident a-huge:known b-1:resident b-2:known" {
			t.Error(got)
		}
		using := []*Lease{hold(t, c, "a-2"), hold(t, c, "a-3")}
		if err := c.Pin(t.Context(), "a-4"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := c.Load(t.Context(), "a-1")
		var full *QuotaError
		if !errors.As(err, &full) || !errors.Is(err, ErrQuota) || full.Owner != "a" || full.Quota != 300 || full.Need != 100 || full.Used != 200 || full.Pinned != 100 {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it waited %v", took)
		}
		if _, err := c.Load(t.Context(), "a-huge"); !errors.As(err, &full) || full.Need <= full.Quota {
			t.Errorf("%v", err)
		}
		if _, err := c.Load(t.Context(), "b-2"); err != nil {
			t.Errorf("another's: %v", err)
		}
		// A version in use is replaced though both are in memory for a while.
		if _, err := c.Swap(t.Context(), Candidate{Name: "a-2", URI: "fake://new"}); err != nil {
			t.Error(err)
		}
		for _, l := range using {
			l.Release()
		}
		time.Sleep(time.Second)
		if _, err := c.Load(t.Context(), "a-1"); err != nil {
			t.Error(err)
		}
		free(t, c)
		c.Close()
	})
}

// Whatever owners ask for, each keeps to its quota and all to the budget, who has
// none is never refused for another's, and whoever has room in its quota gets its
// adapter in the end.
func TestQuotasAreKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var names []string
		bytes, quotas := map[string]int{}, map[string]int{}
		for _, owner := range []string{"a", "b", "c"} {
			if owner != "c" {
				quotas[owner] = rapid.IntRange(20, 120).Draw(rt, "quota")
			}
			for i := range 3 {
				name := fmt.Sprint(owner, "-", i)
				names, bytes[name] = append(names, name), rapid.IntRange(1, 60).Draw(rt, "bytes")
			}
		}
		requests := rapid.SliceOfN(rapid.SampledFrom(names), 1, 60).Draw(rt, "requests")
		pin := rapid.SampledFrom(append(names, "")).Draw(rt, "pinned")
		synctest.Test(t, func(t *testing.T) {
			f := sized(bytes)
			c := f.catalogue(t, Options{Bytes: 120, Loads: 2, Wait: time.Hour, Retry: time.Nanosecond, Owner: byLetter(quotas)})
			add(t, c, names...)
			if err := c.Pin(t.Context(), pin); pin != "" && err != nil && !errors.Is(err, ErrQuota) {
				t.Fatal(err)
			}
			kept := func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				used := map[string]int{}
				for _, v := range c.versions.all() {
					owner, _, _ := strings.Cut(v.record.name, "-")
					used[owner] += v.bytes
				}
				for owner, quota := range quotas {
					if used[owner] > quota {
						t.Errorf("%s takes %d of %d", owner, used[owner], quota)
					}
				}
				if c.versions.used > c.versions.budget {
					t.Errorf("%d of %d", c.versions.used, c.versions.budget)
				}
			}
			var group sync.WaitGroup
			for i, n := range requests {
				time.Sleep(time.Duration(i%3) * time.Millisecond)
				group.Go(func() {
					owner, quota := byLetter(quotas)(n)
					l, err := c.Acquire(n, "")
					if err == nil {
						defer l.Release()
						err = l.Wait(context.Background())
					}
					var full *QuotaError
					switch {
					case errors.As(err, &full):
						if full.Owner != owner || quota == 0 || full.Used+full.Pinned+full.Need <= quota {
							t.Errorf("%s: %v", n, err)
						}
					case err != nil && (pin == "" || !errors.Is(err, ErrBudget)):
						t.Errorf("%s: %v", n, err)
					}
					kept()
					time.Sleep(time.Duration(i%5) * time.Millisecond)
				})
			}
			group.Wait()
			synctest.Wait()
			for _, n := range names { // nobody asks for anything now
				if _, quota := byLetter(quotas)(n); pin == "" && (quota == 0 || bytes[n] <= quota) {
					if _, err := c.Load(t.Context(), n); err != nil {
						t.Errorf("%s: %v", n, err)
					}
					kept()
				}
			}
			free(t, c)
			if len(c.versions.promises) != 0 {
				t.Errorf("%d promises are left", len(c.versions.promises))
			}
			c.Close()
		})
	})
}

// What reading takes is set aside while an adapter is read, and given back; where
// it cannot be, the load fails and its slot is free.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, held, refuse := errors.New("full"), 0, false
		f := sized(nil)
		c := f.catalogue(t, Options{Loads: 1, Retry: time.Nanosecond, Size: func(string) int { return 1 }, Reserve: func(context.Context, string) (func(), error) {
			if refuse {
				return nil, full
			}
			held++
			return func() { held-- }, nil
		}})
		add(t, c, "a", "b")
		for _, refuse = range []bool{false, true, true, false} {
			for _, name := range []string{"a", "b"} {
				if err := c.Replace(name, "fake://"+name); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Load(t.Context(), name); errors.Is(err, full) != refuse || err != nil && !refuse {
					t.Errorf("%s: %v", name, err)
				}
				synctest.Wait()
				if held != 0 || len(c.slots) != 0 {
					t.Errorf("%d are held, %d slots", held, len(c.slots))
				}
				time.Sleep(time.Second)
			}
		}
		c.Close()
	})
}
