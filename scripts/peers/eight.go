package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The loads of 8 requests at once over HTTP, 64 prompt and 64 new tokens each. Adapters
// are LoRA of rank 8 on queries and values.
const (
	eightBase  = "8 requests, base"
	eightSame  = "8 requests, one adapter"
	eightMixed = "8 requests, 8 adapters"
	adapters   = 8
)

// eightLoads are those, in the order in which the bench tells them.
var eightLoads = []string{eightBase, eightSame, eightMixed}

// eight takes the turns of servers that all run at the same time, each idle while another
// has its turn. Each round has prompts of its own, so that no cache of prompts helps.
func (b *bench) eight(ctx context.Context, of setting, path string) (err error) {
	folder := filepath.Join(b.work, "adapters-"+of.Model)
	files, err := b.write(ctx, path, folder)
	if err != nil {
		return err
	}
	var scaled []string
	for _, file := range files {
		scaled = append(scaled, file+":0")
	}
	threads := strconv.Itoa(b.threads)
	ours := func(activations string) []string {
		return []string{filepath.Join(b.bin, "peft-serve"), "--base", path, "--adapters", folder, "--threads", threads, "--activations", activations, "--addr"}
	}
	var all []engine
	for _, s := range []struct {
		name    string
		command []string
		flags   []string // of the bench that asks it
		address func(port string) []string
	}{
		{oursExact, ours("f32"), nil, func(port string) []string { return []string{"127.0.0.1:" + port} }},
		{oursRounded, ours("i8"), nil, func(port string) []string { return []string{"127.0.0.1:" + port} }},
		{llama, []string{
			filepath.Join(b.llama, "llama-server"), "-m", path, "-t", threads, "-np", strconv.Itoa(adapters), "-c", "4096",
			"--lora-scaled", strings.Join(scaled, ","), "--host", "127.0.0.1", "--port",
		}, []string{"--lora-field"}, func(port string) []string { return []string{port} }},
	} {
		port, wrong := freePort()
		if wrong != nil {
			return wrong
		}
		server, wrong := start(ctx, "http://127.0.0.1:"+port, append(s.command, s.address(port)...))
		if wrong != nil {
			return fmt.Errorf("%s: %w", s.name, wrong)
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		all = append(all, engine{s.name, eightLoads, func(ctx context.Context, round int) (map[string]float64, error) {
			return b.asked(ctx, server, round, s.flags)
		}})
	}
	return b.take(ctx, of, all)
}

// write makes adapters of a model, as PEFT folders in a folder and as GGUF files beside it.
func (b *bench) write(ctx context.Context, path, folder string) (files []string, err error) {
	if _, err := b.output(ctx, filepath.Join(b.bin, "peft-serve"), "bench", "--base", path, "--adapters", strconv.Itoa(adapters), "--keep", folder,
		"--prompt", "1", "--generate", "1", "--repetitions", "1"); err != nil {
		return nil, err
	}
	for i := range adapters {
		name := fmt.Sprintf("bench-%d", i)
		file := filepath.Join(b.work, filepath.Base(folder)+"-"+name+".gguf")
		if _, err := b.output(ctx, filepath.Join(b.bin, "peft-train"), "convert", filepath.Join(folder, name), file, "--base", path, "--overwrite"); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// asked is a turn of a server.
func (b *bench) asked(ctx context.Context, s *server, round int, flags []string) (map[string]float64, error) {
	args := append([]string{"bench", "--url", s.url, "--adapters", strconv.Itoa(adapters), "--seed", strconv.Itoa(round), "--repetitions", strconv.Itoa(b.repetitions), "--json"}, flags...)
	if b.processor {
		args = append(args, "--pid", strconv.Itoa(s.command.Process.Pid))
	}
	text, err := b.output(ctx, filepath.Join(b.bin, "peft-serve"), args...)
	if err != nil {
		return nil, errors.Join(err, s.lives())
	}
	var report struct {
		Mix []struct {
			Clock     float64 `json:"tokens_per_second"`
			Processor float64 `json:"tokens_per_processor_second"`
		} `json:"mix"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	if len(report.Mix) != len(eightLoads) {
		return nil, fmt.Errorf("the bench has %d loads and not %d: %s", len(report.Mix), len(eightLoads), text)
	}
	rates := map[string]float64{}
	for i, load := range eightLoads {
		if rates[load] = report.Mix[i].Clock; b.processor {
			rates[load] = report.Mix[i].Processor
		}
	}
	return rates, whole(rates, eightLoads...)
}

// server is one that has been started here.
type server struct {
	url     string
	command *exec.Cmd
	said    bytes.Buffer // on stderr; to be read once it has ended
	ended   chan struct{}
}

// healthyWithin is how long a look at a server's health may take.
const healthyWithin = 5 * time.Second

// start starts a server and waits until it is healthy.
func start(ctx context.Context, url string, command []string) (*server, error) {
	s := &server{url: url, command: exec.CommandContext(ctx, command[0], command[1:]...), ended: make(chan struct{})}
	s.command.Stderr = &s.said
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: healthyWithin}
	defer client.CloseIdleConnections()
	go func() {
		_ = s.command.Wait() // how it ended is told by its state
		close(s.ended)
	}()
	for {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s does not become healthy: %w", strings.Join(command, " "), s.lives())
		case <-time.After(200 * time.Millisecond):
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		if r, err := client.Do(request); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return s, nil
			}
		}
	}
}

// lives reports a server that has ended by itself, with the end of what it has said.
func (s *server) lives() error {
	select {
	case <-s.ended:
		return fmt.Errorf("the server has ended: %v\n%s", s.command.ProcessState, lastOf(s.said.String()))
	default:
		return nil
	}
}

// stop ends it.
func (s *server) stop() error {
	if err := s.command.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.ended // what it says of its end is no matter here
	return nil
}

// freePort is one that nothing listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
