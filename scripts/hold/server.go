package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
)

// server is a peft-serve that runs as a process of its own.
type server struct {
	url   string // once it serves
	admin string // address, where there is one
	cmd   *exec.Cmd
	log   bytes.Buffer // until it serves, and all of it once it has ended
	ended chan struct{}
	err   error // what it ended with
	up    chan struct{}
}

// start starts a server on an address that is free. It does not wait for it.
func start(bin string, args ...string) (*server, error) {
	s := &server{
		cmd:   exec.Command(bin, append([]string{"--addr", "127.0.0.1:0", "--log-format", "json"}, args...)...),
		ended: make(chan struct{}), up: make(chan struct{}),
	}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go s.read(log)
	return s, nil
}

// read follows the log to its end, which is the process's.
func (s *server) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var record struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &record) == nil {
			switch record.Msg {
			case "admin address":
				s.admin = record.Address
			case "serving":
				s.url = record.Address
				close(s.up)
			}
		}
		s.log.Write(append(lines.Bytes(), '\n'))
	}
	s.err = s.cmd.Wait()
	close(s.ended)
}

// serving waits until the server serves.
func (s *server) serving(ctx context.Context) error {
	select {
	case <-s.up:
		return nil
	case <-s.ended:
		return fmt.Errorf("the server does not start: %w\n%s", s.err, s.log.String())
	case <-ctx.Done():
		s.kill()
		return ctx.Err()
	}
}

// lives reports a server that has ended by itself.
func (s *server) lives() error {
	select {
	case <-s.ended:
		return fmt.Errorf("the server ended: %w\n%s", s.err, s.log.String())
	default:
		return nil
	}
}

// kill ends the server without a word.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// stop lets the server end as it does on SIGTERM.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if <-s.ended; s.err != nil {
		return fmt.Errorf("the server ends: %w\n%s", s.err, s.log.String())
	}
	return nil
}

// reply is an answer read whole.
type reply struct {
	status int
	digest string // of the adapter that answered
	text   []byte
}

func send(client *http.Client, method, url string, body []byte) (r reply, err error) {
	return sendIn(context.Background(), client, method, url, body)
}

func sendIn(ctx context.Context, client *http.Client, method, url string, body []byte) (r reply, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	response, err := client.Do(request)
	if err != nil {
		return r, err
	}
	defer func() { _ = response.Body.Close() }()
	r.text, err = io.ReadAll(response.Body)
	r.status, r.digest = response.StatusCode, response.Header.Get("X-Adapter-Digest")
	return r, err
}

// failedInside reports whether an answer tells of a fault of the server's own: by its
// status, which is a 424 where clients of text-generation-inference ask, or, in a
// stream or a list of answers whose status is 200, by what the server says of a panic.
func failedInside(status int, text []byte) bool {
	return status == http.StatusInternalServerError || status == http.StatusFailedDependency || bytes.Contains(text, []byte("failed inside"))
}
