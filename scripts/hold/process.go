package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a peft-serve of its own, as an operator runs it.
type process struct {
	url    string
	admin  string // of --admin-addr
	cmd    *exec.Cmd
	log    *os.File
	ended  chan struct{}
	result error // once ended is closed
}

// buildServer builds peft-serve from the repository into dir.
func buildServer(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "peft-serve")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/peft-serve")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/peft-serve: %w\n%s", err, out)
	}
	return binary, nil
}

// startServer starts a binary and returns when it is ready. What it logs goes
// to server.log in dir.
func startServer(ctx context.Context, binary, dir string, args ...string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &process{url: "http://" + addr, admin: "http://" + admin, ended: make(chan struct{})}
	if p.log, err = os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(binary, append(args, "--addr", addr, "--admin-addr", admin)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	go func() { p.result = p.cmd.Wait(); close(p.ended) }()
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until the server says that it can answer.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/ready", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the server ended: %w: see %s", p.result, p.log.Name())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w: see %s", ctx.Err(), p.log.Name())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop asks the server to end and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return errors.Join(p.result, p.log.Close())
}

// footprint is what a process holds.
type footprint struct {
	resident    int64 // bytes of memory that no file backs
	descriptors int
	goroutines  int
	series      int
}

// footprint reads what the server holds now.
func (p *process) footprint(ctx context.Context) (f footprint, err error) {
	proc := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return f, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
			f.resident = n << 10
		}
	}
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return f, err
	}
	f.descriptors = len(open)
	err = p.metrics(ctx, func(name string, value float64) {
		f.series++
		if name == "go_goroutines" {
			f.goroutines = int(value)
		}
	})
	return f, err
}

// metrics calls see for each series of the admin address.
func (p *process) metrics(ctx context.Context, see func(name string, value float64)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("/metrics: %s: %s", answer.Status, text)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		v, _ := strconv.ParseFloat(value, 64)
		see(name, v)
	}
	return lines.Err()
}
