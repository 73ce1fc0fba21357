package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
	descriptors int
	goroutines  int
	series      int
	generated   int // tokens so far
}

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
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		f.series++
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
