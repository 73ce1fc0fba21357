package catalogue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A load that hangs in a read does not keep Close from ending.
func TestCloseLeavesAHangingLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := make(chan struct{})
		var log bytes.Buffer
		c, err := New(func(context.Context, Source) (Adapter, error) { <-pipe; return nil, errors.New("late") }, Options{
			Schemes: map[string]Scheme{"fake": func(context.Context, string) (string, error) { return "", nil }},
			Log:     slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		add(t, c, "x")
		l := hold(t, c, "x")
		synctest.Wait()
		l.Release()
		start := time.Now()
		if err := c.Close(); err != nil || time.Since(start) != closeWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !strings.Contains(log.String(), "level=WARN msg=\"adapters are still being read") {
			t.Error(log.String())
		}
		close(pipe)
		synctest.Wait()
	})
}

// A load that fails is a line in the log, however many wait for it.
func TestFailedLoadIsLogged(t *testing.T) {
	var log bytes.Buffer
	f := &fakeLoader{errors: map[string]error{"x": errors.New("a tensor is missing")}}
	c := f.catalogue(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	add(t, c, "x", "y")
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := c.Load(t.Context(), "x"); err == nil {
				t.Error("loaded")
			}
		})
	}
	group.Wait()
	if _, err := c.Load(t.Context(), "y"); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	got := log.String()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=WARN msg="adapter not loaded" adapter=x source=fake://x error="a tensor is missing"`) {
		t.Error(got)
	}
}
