package runtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// live is an engine with its step loop over the fake model.
func live(t *testing.T, f *fakeLoader, o Options) (*Engine, *fakeModel, *catalogue.Catalogue) {
	t.Helper()
	m, c, pool := newFakeModel(), f.catalogue(t, catalogue.Options{Bytes: 350}), kernels.NewPool(2)
	e, err := New(m, nil, pool, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close(context.Background())
		pool.Close()
	})
	return e, m, c
}

// TestCrowd has many clients, more adapters than fit, some that cannot be
// loaded, some that are at fault, and clients that leave.
func TestCrowd(t *testing.T) {
	broken := errors.New("broken")
	f := &fakeLoader{
		errors: map[string]error{"broken": broken},
		adapters: map[string]*fakeAdapter{
			"panic": {digest: "panic", bytes: 100, fault: "panic"}, "nan": {digest: "nan", bytes: 100, fault: "nan"},
		},
	}
	e, _, c := live(t, f, Options{Slots: 6, CacheBlocks: 20, StepTokens: 50, Log: silent})
	names := []string{"", "a", "b", "c", "d", "broken", "panic", "nan"}
	for _, name := range names[1:] {
		if err := c.Add(name, "fake://"+name); err != nil {
			t.Fatal(err)
		}
	}
	wants := map[string]error{"broken": broken, "panic": ErrPanic, "nan": ErrNotFinite}
	var group sync.WaitGroup
	var answers sync.Map
	for i := range 120 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			name := names[random.IntN(len(names))]
			n, most := 1+random.IntN(80), 1+random.IntN(60)
			leaves := random.IntN(5) == 0
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stream, err := (&call{Request{Prompt: prompt("a", n), MaxTokens: most, Logprobs: -1, PromptLogprobs: -1}, name}).submit(ctx, e, c)
			var got answer
			switch {
			case err != nil:
				got.err = err
			case leaves:
				for range random.IntN(5) {
					if _, err := stream.Next(ctx); err != nil {
						break
					}
				}
				cancel()
				return
			default:
				got = collect(context.Background(), stream)
			}
			if want := wants[name]; !errors.Is(got.err, want) || want != nil && len(got.tokens) > 0 {
				t.Errorf("adapter %q: got %v, want error %v", name, got.err, want)
			}
			if got.err != nil {
				return
			}
			if len(got.tokens) != most {
				t.Errorf("%d tokens, want %d", len(got.tokens), most)
			}
			key := fmt.Sprint(name, n)
			if before, ok := answers.LoadOrStore(key, got.tokens); ok {
				for i := range min(len(got.tokens), len(before.([]int32))) {
					if got.tokens[i] != before.([]int32)[i] {
						t.Errorf("%s answered differently", key)
						break
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if n := e.Snapshot(); n.Running > 6 || n.BlocksUsed > n.Blocks {
					t.Errorf("%+v", n)
				}
				if used, budget := c.Bytes(); used > budget {
					t.Errorf("%d of %d bytes", used, budget)
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
	group.Wait()
	close(stop)
	watching.Wait()
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
	n := e.Snapshot()
	if n.Running+n.Waiting+n.BlocksUsed != 0 || n.Finished+n.Failed+n.Cancelled != n.Requests {
		t.Errorf("left behind: %+v", n)
	}
	for _, entry := range c.List() {
		if entry.References != 0 {
			t.Errorf("%s is held %d times", entry.Name, entry.References)
		}
	}
	t.Logf("%+v", n)
}

func TestCloseDrains(t *testing.T) {
	e, _, _ := live(t, &fakeLoader{}, Options{Slots: 2})
	var streams []*Stream
	for range 5 {
		s, err := e.Submit(context.Background(), &Request{Prompt: prompt("a", 20), MaxTokens: 30})
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for _, s := range streams {
		if got := collect(context.Background(), s); len(got.tokens) != 30 || got.err != nil {
			t.Errorf("%d tokens, %v", len(got.tokens), got.err)
		}
	}
	if _, err := e.Submit(context.Background(), &Request{Prompt: prompt("a", 20), MaxTokens: 30}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestCloseGivesUpAfterItsDeadline(t *testing.T) {
	f := &fakeLoader{gates: map[string]chan struct{}{"cold": make(chan struct{})}}
	m := newFakeModel()
	m.before = func(models.Batch) { time.Sleep(5 * time.Millisecond) }
	c, pool := f.catalogue(t, catalogue.Options{}), kernels.NewPool(1)
	defer pool.Close()
	e, err := New(m, nil, pool, Options{Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Add("cold", "fake://cold"); err != nil {
		t.Fatal(err)
	}
	var streams []*Stream
	for _, r := range []*call{{Request{Prompt: prompt("a", 2), MaxTokens: 400}, ""}, {Request{Prompt: prompt("b", 2), MaxTokens: 400}, ""}, {Request{Prompt: prompt("c", 2), MaxTokens: 1}, "cold"}} {
		s, err := r.submit(context.Background(), e, c)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	for _, s := range streams {
		if got := collect(context.Background(), s); !errors.Is(got.err, ErrClosed) {
			t.Errorf("got %v", got.err)
		}
	}
	if n := e.Snapshot(); n.Running+n.Waiting != 0 {
		t.Errorf("%+v", n)
	}
}

func TestIdleEngineParks(t *testing.T) {
	e, m, _ := live(t, &fakeLoader{}, Options{})
	var batches atomic.Int32
	m.before = func(models.Batch) { batches.Add(1) }
	s, err := e.Submit(context.Background(), &Request{Prompt: prompt("a", 2), MaxTokens: 3})
	if err != nil {
		t.Fatal(err)
	}
	collect(context.Background(), s)
	time.Sleep(20 * time.Millisecond)
	if n := batches.Load(); n != 3 {
		t.Errorf("%d batches for three tokens", n)
	}
}

// TestSlowReaderHoldsUpNobody: events wait in the stream.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	e, _, _ := live(t, &fakeLoader{}, Options{})
	slow, err := e.Submit(context.Background(), &Request{Prompt: prompt("a", 2), MaxTokens: 300})
	if err != nil {
		t.Fatal(err)
	}
	quick, err := e.Submit(context.Background(), &Request{Prompt: prompt("b", 2), MaxTokens: 300})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Stream{quick, slow} {
		if got := collect(context.Background(), s); len(got.tokens) != 300 || got.usage.CompletionTokens != 300 {
			t.Errorf("%d tokens", len(got.tokens))
		}
	}
}

// TestObserverHearsEverything counts what it is told.
func TestObserverHearsEverything(t *testing.T) {
	var o counter
	e, _, _ := live(t, &fakeLoader{}, Options{Observer: &o})
	s, err := e.Submit(context.Background(), &Request{Prompt: prompt("a", 20), MaxTokens: 5})
	if err != nil {
		t.Fatal(err)
	}
	got := collect(context.Background(), s)
	e.Close(context.Background())
	if o.steps != 5 || o.rows != 24 || o.promptRows != 20 || o.started != 1 || o.first != 1 || o.tokens != 5 || o.finished != 1 {
		t.Errorf("%+v", o)
	}
	if u := got.usage; u.Total < u.FirstToken || u.FirstToken < u.Queued || u.FirstToken <= 0 {
		t.Errorf("%+v", u)
	}
}

type counter struct {
	Silent
	steps, rows, promptRows, started, first, tokens, finished int
}

func (c *counter) Step(_ time.Duration, rows, promptRows int) {
	c.steps++
	c.rows += rows
	c.promptRows += promptRows
}
func (c *counter) Started(string, time.Duration) { c.started++ }
func (c *counter) Token(_ string, first bool, _ time.Duration) {
	c.tokens++
	if first {
		c.first++
	}
}
func (c *counter) Finished(string, Finish, Usage, error) { c.finished++ }
