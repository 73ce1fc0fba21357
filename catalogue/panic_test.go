package catalogue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// lines is a log that goroutines write to.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// Wherever an adapter's files make the server's own code panic, that is a
// failure of this adapter alone. Where it happened is told to the log, and not to
// clients.
func TestPanicIsAFailure(t *testing.T) {
	oh := func() { panic("oh") }
	for what, load := range map[string]func(c *Catalogue, dir string) error{
		"loader": func(c *Catalogue, _ string) error { _, err := c.Load(context.Background(), "x"); return err },
		"size":   func(c *Catalogue, _ string) error { _, err := c.Load(context.Background(), "x"); return err },
		"scheme": func(c *Catalogue, _ string) error {
			_, err := c.Swap(context.Background(), Candidate{Name: "y", URI: "far://x"})
			return err
		},
		"check": func(c *Catalogue, dir string) error {
			_, err := c.Swap(context.Background(), Candidate{Name: "y", URI: dir, Check: func(context.Context, Adapter) error { oh(); return nil }})
			return err
		},
		"probe": func(c *Catalogue, dir string) error {
			_, err := c.Swap(context.Background(), Candidate{Name: "y", URI: dir, Probe: func(context.Context, Adapter) error { oh(); return nil }})
			return err
		},
		"move": func(c *Catalogue, dir string) error {
			_, err := c.Swap(context.Background(), Candidate{Name: "y", URI: dir, Move: func() (string, error) { oh(); return "", nil }})
			return err
		},
		"compose": func(c *Catalogue, _ string) error {
			l, err := c.Compose([]Part{{"x", 1}, {"z", 1}}, "")
			if err == nil {
				defer l.Release()
				err = l.Wait(context.Background())
			}
			return err
		},
		"inspect": func(c *Catalogue, _ string) error {
			for _, e := range c.List() {
				if !strings.Contains(e.Warning, ErrPanic.Error()) {
					return errors.New(e.Warning)
				}
			}
			return ErrPanic
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir, log := t.TempDir(), &lines{}
			writeAdapter(t, dir, "x", "x")
			writeAdapter(t, dir, "z", "z")
			at := func(hook string) {
				if hook == what {
					oh()
				}
			}
			c, err := New(func(_ context.Context, s Source) (Adapter, error) {
				at("loader")
				return &fakeAdapter{digest: s.Name, bytes: 1}, nil
			}, Options{
				Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil)),
				Schemes: map[string]Scheme{"far": func(context.Context, string) (string, error) { at("scheme"); return dir, nil }},
				Size:    func(string) int { at("size"); return 1 },
				Inspect: func(string) string { at("inspect"); return "" },
				Compose: func([]Part, []Adapter) (Adapter, error) { at("compose"); return &fakeAdapter{digest: "xz"}, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = load(c, filepath.Join(dir, "x"))
			if !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), ".go:") {
				t.Errorf("got %v", err)
			}
			if text := log.String(); !strings.Contains(text, "panic=oh") || !strings.Contains(text, "panic_test.go") {
				t.Errorf("the log does not tell where: %s", text)
			}
		})
	}
}
