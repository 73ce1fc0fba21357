package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/training"
)

// check serves every adapter of the table from one process, and each model from one of
// its own, and demands the scores that the trainer gives each row, to the last bit, and
// the measures that it wrote down.
func (b *bench) check(ctx context.Context) error {
	var served []method
	var models []method
	for _, m := range b.chosen() {
		if m.whole {
			models = append(models, m)
		} else {
			served = append(served, m)
		}
	}
	differ := 0
	if len(served) > 0 {
		s, err := b.start(ctx, "--base", b.base, "--adapters", filepath.Join(b.work, "adapters"))
		if err != nil {
			return err
		}
		n, err := b.compare(ctx, s, served, b.tasks)
		if err := errors.Join(err, s.stop()); err != nil {
			return err
		}
		differ += n
	}
	for _, m := range models {
		for _, task := range b.tasks {
			s, err := b.start(ctx, "--base", b.made(m, task))
			if err != nil {
				return err
			}
			n, err := b.compare(ctx, s, []method{m}, []string{task})
			if err := errors.Join(err, s.stop()); err != nil {
				return err
			}
			differ += n
		}
	}
	if differ > 0 {
		return fmt.Errorf("%d cells are served with other scores than the trainer's", differ)
	}
	return nil
}

// compare asks a server for the rows of cells, and counts those that differ.
func (b *bench) compare(ctx context.Context, s *server, methods []method, tasks []string) (differ int, err error) {
	for _, task := range tasks {
		rows, err := b.open(task)
		if err != nil {
			return differ, err
		}
		for _, m := range methods {
			same, err := b.same(ctx, s, m, rows)
			if err != nil {
				return differ, errors.Join(fmt.Errorf("%s on %s: %w", m.name, task, err), rows.close())
			}
			if !same {
				differ++
			}
		}
		if err := rows.close(); err != nil {
			return differ, err
		}
	}
	return differ, nil
}

// same reports whether what is served of a cell has the trainer's scores.
func (b *bench) same(ctx context.Context, s *server, m method, rows *rows) (bool, error) {
	done, err := b.finished(b.setting(ours, m, rows))
	if err != nil {
		return false, err
	}
	if done == nil {
		return false, errors.New("it has not been trained: run it first")
	}
	want, err := b.told(ctx, m, rows)
	if err != nil {
		return false, err
	}
	adapter := ""
	if !m.whole {
		adapter = filepath.Base(b.made(m, rows.name))
	}
	var scores [][]float64
	for from := 0; from < rows.dev.Len(); from += askedAtOnce {
		var texts []any
		for i := from; i < min(from+askedAtOnce, rows.dev.Len()); i++ {
			x, err := rows.dev.Example(i)
			if err != nil {
				return false, err
			}
			if x.Second != nil {
				texts = append(texts, []string{x.Text, *x.Second})
			} else {
				texts = append(texts, x.Text)
			}
		}
		own, err := s.classify(ctx, adapter, texts)
		if err != nil {
			return false, err
		}
		scores = append(scores, own...)
	}
	got, err := rows.measured(scores)
	if err != nil {
		return false, err
	}
	n := differing(want, scores)
	fmt.Fprintf(b.out, "%s on %s: %d of %d rows have other scores than the trainer's\n", m.name, rows.name, n, len(want))
	same := n == 0
	for _, name := range rows.task.Metrics {
		same = same && got[name] == done.Scores[name]
		fmt.Fprintf(b.out, "%s on %s: %s served %.17g, trained %.17g\n", m.name, rows.name, name, got[name], done.Scores[name])
	}
	return same, nil
}

// told are the scores that the trainer's evaluation gives the rows of a cell.
func (b *bench) told(ctx context.Context, m method, rows *rows) (scores [][]float32, err error) {
	a := training.Assessment{
		Data: []string{rows.dir}, Task: rows.task.Name, Format: "auto", Turns: "all", Threads: b.threads,
		Each: func(s kernels.Matrix) { scores = append(scores, slices.Clone(s.Row(0))) },
	}
	base := rows.base
	if m.whole {
		if base, err = training.Open(b.made(m, rows.name), training.BaseConfig{}); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, base.Close()) }()
	} else if a.Adapter, err = adapters.Open(b.made(m, rows.name)); err != nil {
		return nil, err
	}
	_, _, err = training.Assess(ctx, base, a)
	return scores, err
}

// differing counts the rows whose scores are other than those wanted.
func differing(want [][]float32, got [][]float64) int {
	n := max(len(want), len(got))
	for i := range min(len(want), len(got)) {
		if slices.EqualFunc(want[i], got[i], func(w float32, g float64) bool { return w == float32(g) }) {
			n--
		}
	}
	return n
}

// askedAtOnce is how many texts a request has.
const askedAtOnce = 64

// server is a peft-serve that runs as a process of its own.
type server struct {
	url string
	cmd *exec.Cmd
}

// start starts a server on an address that is free, and waits until it serves.
func (b *bench) start(ctx context.Context, args ...string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, b.serve, append([]string{"--addr", "127.0.0.1:0", "--log-format", "json"}, args...)...)}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		said.Write(append(lines.Bytes(), '\n'))
		var record struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &record) == nil && record.Msg == "serving" {
			s.url = record.Address
			go func() { _, _ = io.Copy(io.Discard, log) }() // so that it is never held up
			return s, nil
		}
	}
	return nil, fmt.Errorf("the server does not start: %w\n%s", s.cmd.Wait(), said.String())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// classify asks for the raw scores of texts, by the numbers of classes.
func (s *server) classify(ctx context.Context, adapter string, texts []any) ([][]float64, error) {
	body := map[string]any{"input": texts, "activation": "none"}
	if adapter != "" {
		body["model"] = adapter
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/classify", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, answer)
	}
	var parsed struct{ Data []struct{ Probs []float64 } }
	if err := json.Unmarshal(answer, &parsed); err != nil {
		return nil, err
	}
	var scores [][]float64
	for _, d := range parsed.Data {
		scores = append(scores, slices.Clone(d.Probs))
	}
	if len(scores) != len(texts) {
		return nil, fmt.Errorf("%d answers to %d texts", len(scores), len(texts))
	}
	return scores, nil
}
