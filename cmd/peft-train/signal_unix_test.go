//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// metrics is the number of lines of metrics.jsonl.
func metrics(output string) int {
	b, err := os.ReadFile(filepath.Join(output, "metrics.jsonl"))
	if err != nil {
		return 0
	}
	return bytes.Count(b, []byte("\n"))
}

// longRun is a process that trains until it is told to stop.
type longRun struct {
	cmd    *exec.Cmd
	notes  bytes.Buffer
	output string
	ended  chan error
}

func startRun(t *testing.T, through ...string) *longRun {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args, output := tinyRun(t)
	r := &longRun{output: output, ended: make(chan error, 1)}
	line := append(append(through, self), append(args, "--max-steps", "1000000")...)
	r.cmd = exec.Command(line[0], line[1:]...)
	r.cmd.Env = append(os.Environ(), asCommand+"=1")
	r.cmd.Stderr = &r.notes
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() }) // it may have ended
	return r
}

// until waits for a number of steps.
func (r *longRun) until(t *testing.T, steps int) {
	t.Helper()
	for metrics(r.output) < steps {
		select {
		case err := <-r.ended:
			t.Fatalf("it ended: %v\n%s", err, r.notes.String())
		default:
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// stops demands that the run ends with a checkpoint, and by the signal.
func (r *longRun) stops(t *testing.T, by syscall.Signal) {
	t.Helper()
	<-r.ended
	if code := r.cmd.ProcessState.ExitCode(); code != 128+int(by) || !strings.Contains(r.notes.String(), "interrupted at step") {
		t.Errorf("exit code %d\n%s", code, r.notes.String())
	}
	if _, err := os.Stat(filepath.Join(r.output, "checkpoint.safetensors.zst")); err != nil {
		t.Error(err)
	}
}

// TestSignals: SIGHUP stops a run as SIGTERM does, however often the terminal
// and the shell send it, and not where nohup has set it aside.
func TestSignals(t *testing.T) {
	aside := signal.Ignored(syscall.SIGHUP) // the tests themselves run under nohup
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal == syscall.SIGHUP && aside {
			continue
		}
		r := startRun(t)
		r.until(t, 1)
		for range 3 {
			if err := r.cmd.Process.Signal(signal); err != nil || signal != syscall.SIGHUP {
				break
			}
		}
		r.stops(t, signal)
	}
	r := startRun(t, "sh", "-c", `trap "" HUP; exec "$@"`, "sh")
	r.until(t, 1)
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.until(t, metrics(r.output)+20)
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.stops(t, syscall.SIGTERM)
}
