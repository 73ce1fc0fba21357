package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// buildServer builds peft-serve from the repository into dir.
func buildServer(ctx context.Context, root, dir string) (string, error) {
	binary, err := filepath.Abs(filepath.Join(dir, "peft-serve"))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/peft-serve")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/peft-serve: %w\n%s", err, out)
	}
	return binary, nil
}

// footprint is what a process holds.
type footprint struct {
	resident    int64 // bytes of memory that no file backs
	heap        int64 // bytes of what the server's Go code still refers to; 0: not asked for
	parts       parts // of the resident memory, read right after it; zero: not asked for
	descriptors int
	goroutines  int
	series      map[string]bool // with their labels
	values      map[string]bool // of the labels of its series, as label=value
	generated   int             // tokens so far
}

// used is the resident memory without what is free.
func (f footprint) used() int64 { return f.resident - f.parts.unused - f.parts.free }

// parts are those of a process's memory that the Go runtime tells apart, in bytes.
type parts struct {
	objects int64 // of the heap, dead ones that were not collected yet included
	unused  int64 // free, in spans of objects of one size: cannot go back to the system
	free    int64 // free in whole, and not yet the system's again
	stacks  int64
	runtime int64 // the runtime's own tables
}

func (p parts) String() string {
	return fmt.Sprintf("objects %s, unused %s, free %s, stacks %s, runtime %s", mebibytes(p.objects), mebibytes(p.unused), mebibytes(p.free), mebibytes(p.stacks), mebibytes(p.runtime))
}

// label is a label of a series with its value.
var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

// proc is a file of the kernel's about the process.
func (s *server) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), name)
}

// resident is the memory that the process has and no file backs.
func (s *server) resident() (bytes int64, err error) {
	status, err := os.ReadFile(s.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			bytes, err = strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
		}
	}
	return bytes << 10, err
}

// footprint reads what the server holds now.
func (s *server) footprint(ctx context.Context) (f footprint, err error) {
	if f.resident, err = s.resident(); err != nil {
		return f, err
	}
	open, err := os.ReadDir(s.proc("fd"))
	if err != nil {
		return f, err
	}
	f.descriptors = len(open)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		return f, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return f, err
	}
	defer func() { _ = answer.Body.Close() }()
	f.values, f.series = map[string]bool{}, map[string]bool{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		name, value := lines.Text()[:at], lines.Text()[at+1:]
		f.series[name] = true
		for _, l := range label.FindAllStringSubmatch(lines.Text(), -1) {
			f.values[l[1]+"="+l[2]] = true
		}
		counts := map[string]*int{"go_goroutines": &f.goroutines, "vllm:generation_tokens_total": &f.generated}
		bare, _, _ := strings.Cut(name, "{")
		if to := counts[bare]; to != nil {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return f, err
			}
			*to += int(n)
		}
	}
	return f, lines.Err()
}

// without are the series that another footprint has not, in order.
func (f footprint) without(other footprint) (late []string) {
	for name := range f.series {
		if !other.series[name] {
			late = append(late, name)
		}
	}
	slices.Sort(late)
	return late
}

// live are the bytes of what the server's Go code still refers to, once all else has
// been collected.
func (s *server) live(ctx context.Context) (bytes int64, err error) {
	for range 2 { // what has a finalizer goes with the second
		if bytes, _, err = s.counters(ctx, "?gc=1"); err != nil {
			return 0, err
		}
	}
	if bytes == 0 {
		return 0, errors.New("the server's counters have no live_bytes")
	}
	return bytes, nil
}

// profile tells where what is referred to was allocated.
func (s *server) profile(ctx context.Context) ([]byte, error) {
	client := newClient()
	defer client.CloseIdleConnections()
	r, err := sendIn(ctx, client, http.MethodGet, s.admin+"/debug/pprof/heap", nil)
	if err == nil && r.status != http.StatusOK {
		err = fmt.Errorf("the heap's profile: %d %s", r.status, r.text)
	}
	return r.text, err
}

// counters are what the Go runtime of the server tells: the bytes that the last
// collection found in use, and what its memory is.
func (s *server) counters(ctx context.Context, query string) (live int64, p parts, err error) {
	client := newClient()
	defer client.CloseIdleConnections()
	r, err := sendIn(ctx, client, http.MethodGet, s.admin+"/debug/vars"+query, nil)
	if err != nil {
		return 0, p, err
	}
	var told struct {
		Heap struct {
			Live    int64 `json:"live_bytes"`
			Objects int64 `json:"bytes"`
			Unused  int64 `json:"unused_bytes"`
			Free    int64 `json:"free_bytes"`
		}
		Stacks  int64 `json:"stack_bytes"`
		Runtime int64 `json:"runtime_bytes"`
	}
	if err := json.Unmarshal(r.text, &told); err != nil || r.status != http.StatusOK {
		return 0, p, fmt.Errorf("the server's counters: %d %s", r.status, r.text)
	}
	return told.Heap.Live, parts{objects: told.Heap.Objects, unused: told.Heap.Unused, free: told.Heap.Free, stacks: told.Stacks, runtime: told.Runtime}, nil
}
