package memory

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

const mib = 1 << 20

func fixed(bytes int64) Limit {
	return Limit{bytes, "--memory-limit", func() (int64, bool) { return 0, true }}
}

// What does not fit is refused with all of it in a table, the largest first, and
// with the settings that change it.
func TestWhatDoesNotFit(t *testing.T) {
	parts := []Part{{Name: "weights", Bytes: 100 * mib, Set: "--base", Mapped: true}, {Name: "keys and values", Bytes: 512 * mib, Set: "--kv-cache"}, {Name: "process", Bytes: mib/2 + 1}}
	_, err := New(fixed(740*mib), parts...)
	if err == nil {
		t.Fatal("it fits")
	}
	for i, want := range []string{
		"it may come to take 741 MiB of memory, more than 740 MiB (--memory-limit):", "    512 MiB  keys and values (--kv-cache)", "    100 MiB  weights (--base)", "     64 MiB  reading", "     64 MiB  rendering", "      1 MiB  process", "--memory-limit that says",
	} {
		if lines := strings.Split(err.Error(), "\n"); !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	a, err := New(fixed(741*mib), parts...)
	if err != nil {
		t.Fatal(err)
	}
	if heap := a.HeapLimit(); heap != 641*mib*9/10 {
		t.Errorf("the heap's limit is %d", heap)
	}
	if _, err := New(Limit{}, parts...); err != nil {
		t.Error(err)
	}
}

// What is taken never is more than the rest, whoever asks first has it first, and
// all is back in the end.
func TestTakeKeepsToTheRest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(1, 120*mib), 1, 40).Draw(rt, "sizes")
		patience := rapid.IntRange(0, 30).Draw(rt, "patience")
		synctest.Test(t, func(t *testing.T) {
			a, err := New(fixed(200 * mib))
			if err != nil {
				t.Fatal(err)
			}
			p, held := a.pools[0], int64(0)
			ended := make(chan struct{}, len(sizes))
			for i, size := range sizes {
				time.Sleep(time.Millisecond)
				go func() {
					defer func() { ended <- struct{}{} }()
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(patience)*time.Millisecond)
					defer cancel()
					release, err := a.Take(ctx, Reading, size)
					if err != nil {
						if !errors.Is(err, ErrFull) || size <= 100*mib && !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						return
					}
					p.mu.Lock()
					if held += size; p.free < 0 || held > 100*mib-p.free || size > 100*mib {
						t.Errorf("%d are held, %d free", held, p.free)
					}
					p.mu.Unlock()
					time.Sleep(time.Duration(i%7) * time.Millisecond)
					p.mu.Lock()
					held -= size
					p.mu.Unlock()
					release()
					release() // once more does nothing
				}()
				synctest.Wait()
			}
			for range sizes {
				<-ended
			}
			if p.free != 100*mib || len(p.waiting) != 0 || p.taken[Reading] != 0 {
				t.Errorf("%d free, %d waiting, %v", p.free, len(p.waiting), p.taken)
			}
		})
	})
}

// Who asks for much is not passed for ever by those who ask for little.
func TestTakeIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := New(fixed(200 * mib))
		if err != nil {
			t.Fatal(err)
		}
		first, err := a.Take(t.Context(), Reading, 60*mib)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		take := func(name string, ctx context.Context, bytes int64) {
			go func() {
				release, err := a.Take(ctx, Reading, bytes)
				if err != nil {
					name += " left"
				} else {
					defer release()
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			}()
			synctest.Wait()
		}
		ctx, leave := context.WithCancel(t.Context())
		take("gone", ctx, 90*mib)
		take("large", t.Context(), 80*mib)
		take("small", t.Context(), 30*mib)
		if len(order) != 0 {
			t.Errorf("%v did not wait", order)
		}
		release, err := a.Take(t.Context(), Rendering, 75*mib) // requests do not wait for adapters
		if err != nil {
			t.Fatal(err)
		}
		release()
		leave()
		synctest.Wait()
		first()
		synctest.Wait()
		if got := strings.Join(order, ", "); got != "gone left, large, small" {
			t.Error(got)
		}
	})
}

// New work is refused while the system says that nearly all is taken, and taken
// again when it is not.
func TestPressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used int64
		asked := 0
		limit := Limit{1000 * mib, "its cgroup", func() (int64, bool) { asked++; return used, true }}
		a, err := New(limit, Part{Name: "weights", Bytes: 200 * mib, Mapped: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, now := range []int64{0, 760 * mib, 761 * mib, 900 * mib, 700 * mib} {
			used = now
			time.Sleep(freshness)
			before := asked
			for range 100 {
				var pressed *PressedError
				if err := a.Pressed(); errors.As(err, &pressed) != (now > 760*mib) {
					t.Errorf("%d: %v", now, err)
				}
			}
			if asked != before+1 {
				t.Errorf("the system was asked %d times", asked-before)
			}
		}
		if err := (*Account)(nil).Pressed(); err != nil {
			t.Error(err)
		}
	})
}

func TestLines(t *testing.T) {
	a, err := New(fixed(300*mib), Part{Name: "adapters", Bytes: 100 * mib, Used: func() int64 { return 7 }}, Part{Name: "process", Bytes: 5})
	if err != nil {
		t.Fatal(err)
	}
	release, err := a.Take(t.Context(), Rendering, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	lines := a.Lines()
	if lines[0] != (Line{"adapters", 7, 100 * mib}) || lines[1] != (Line{"process", 5, 5}) || lines[4] != (Line{Rendering, 3, 75*mib - 2}) || len(lines) != 8 {
		t.Errorf("%v", lines)
	}
}

// The limit is the lowest of those that hold, wherever they stand.
func TestDetect(t *testing.T) {
	const (
		v2, v1  = "0::/kubepods/pod/c\n", "12:pids:/x\n9:cpu,memory:/docker/abc\n0::/\n"
		meminfo = "MemTotal:       16777216 kB\nMemFree: 3 kB\n"
	)
	for what, c := range map[string]struct {
		files   map[string]string
		goLimit int64
		bytes   int64
		from    string
		used    int64
	}{
		"the machine": {map[string]string{"proc/meminfo": meminfo, "proc/self/status": "VmRSS: 9 kB\nRssAnon:\t 7 kB\nRssFile: 1 kB\nRssShmem:\t 2 kB\n"}, 1 << 62, 16 << 30, "this machine's memory", 9 << 10},
		"version 2": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v2, "sys/fs/cgroup/kubepods/pod/c/memory.max": "1073741824\n", "sys/fs/cgroup/kubepods/pod/memory.max": "max\n",
			"sys/fs/cgroup/kubepods/pod/c/memory.current": "1000\n", "sys/fs/cgroup/kubepods/pod/c/memory.stat": "anon 500\nfile 400\ninactive_file 300\nactive_file 100\n",
		}, 1 << 62, 1 << 30, "/sys/fs/cgroup/kubepods/pod/c/memory.max", 600},
		"the group above": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v2, "sys/fs/cgroup/kubepods/pod/c/memory.max": "max", "sys/fs/cgroup/kubepods/pod/memory.max": "2147483648", "sys/fs/cgroup/kubepods/pod/memory.current": "5",
		}, 1 << 62, 2 << 30, "/sys/fs/cgroup/kubepods/pod/memory.max", 5},
		"inside of a container": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824", "sys/fs/cgroup/memory.current": "5",
		}, 1 << 62, 1 << 30, "/sys/fs/cgroup/memory.max", 5},
		"version 1": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "536870912\n",
			"sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "1000", "sys/fs/cgroup/memory/docker/abc/memory.stat": "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 100\n",
		}, 1 << 62, 512 << 20, "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", 600},
		"version 1, the host's path": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
		}, 1 << 62, 512 << 20, "/sys/fs/cgroup/memory/memory.limit_in_bytes", 1000},
		"version 1 without a limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712", "proc/self/status": "RssAnon: 1 kB\n",
		}, 1 << 62, 16 << 30, "this machine's memory", 1 << 10},
		"the Go runtime": {map[string]string{"proc/meminfo": meminfo, "proc/self/status": "RssAnon: 1 kB\n"}, 3 << 30, 3 << 30, "GOMEMLIMIT", 1 << 10},
		"nothing":        {nil, 1<<63 - 1, 0, "unknown", -1},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		limit := Detect(root, c.goLimit)
		if limit.Bytes != c.bytes || !strings.Contains(limit.From, c.from) {
			t.Errorf("%s: %d by %q", what, limit.Bytes, limit.From)
		}
		if used := limit.Used(); used != c.used && c.used >= 0 || used <= 0 {
			t.Errorf("%s: %d are used", what, used)
		}
	}
}
