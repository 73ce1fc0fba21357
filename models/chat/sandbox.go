package chat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrSandbox is what goes wrong with a Sandbox rather than a template.
	ErrSandbox = errors.New("chat: no process to render templates in")
	// ErrLimits is what a template gives that takes too much.
	ErrLimits = errors.New("chat: template")
)

// A Sandbox renders templates that nobody vouches for in processes of their
// own: what takes too much time or memory there ends a process and not this
// one. Such a process is this program, started again, so the program's main
// calls [EnterSandbox] first. A Sandbox is safe for concurrent use.
type Sandbox struct {
	time  time.Duration // of compiling, and of one rendering
	turns chan struct{} // as many as render
	done  chan struct{} // closed by Close
	close sync.Once

	mu   sync.Mutex
	idle []*worker // the least recently used first
}

// NewSandbox returns a Sandbox without a process: those start when needed.
func NewSandbox() *Sandbox {
	return &Sandbox{time: maxTime, turns: make(chan struct{}, maxTurns), done: make(chan struct{})}
}

// Close ends every process, once they have rendered what they render.
func (s *Sandbox) Close() {
	s.close.Do(func() {
		close(s.done)
		for range cap(s.turns) {
			s.turns <- struct{}{} // for good
		}
		for _, w := range s.idle {
			w.end()
		}
	})
}

// A Confined is a template that is rendered in a [Sandbox]. It renders one
// conversation at a time, so that no template takes all of the Sandbox's turns.
type Confined struct {
	sandbox *Sandbox
	source  Source
	turn    chan struct{}
}

// Template returns a template of a source that is compiled when it is needed.
func (s *Sandbox) Template(source Source) *Confined {
	return &Confined{sandbox: s, source: source, turn: make(chan struct{}, 1)}
}

// Check reports what is wrong with the template's source.
func (c *Confined) Check(ctx context.Context) error {
	_, err := c.do(ctx, nil)
	return err
}

// Render is a [Template]'s. If the template takes too much memory or time, the
// error is [ErrLimits]; if the context ends, its cause.
func (c *Confined) Render(ctx context.Context, messages []Message, o Options) (string, error) {
	return c.do(ctx, &job{Messages: messages, Options: o})
}

// do has a worker do a job; nil: none but to compile the source.
func (c *Confined) do(ctx context.Context, j *job) (string, error) {
	s := c.sandbox
	for _, turns := range []chan struct{}{c.turn, s.turns} {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-s.done:
			return "", fmt.Errorf("%w: it is closed", ErrSandbox)
		}
	}
	for {
		w, err := s.take(ctx, c.source)
		if err != nil {
			return "", err
		}
		if w.fault != nil || j == nil {
			s.keep(w)
			return "", w.fault
		}
		waited := w.waited
		prompt, err := w.render(ctx, s.time, j)
		switch {
		case w.alive:
			s.keep(w)
			return prompt, err
		case waited && errors.Is(err, errDied): // perhaps meanwhile, or for what it had left: a new one will tell
		default:
			return "", err
		}
	}
}

// take returns a worker that has compiled the source, if it can be.
func (s *Sandbox) take(ctx context.Context, source Source) (*worker, error) {
	s.mu.Lock()
	for i, w := range s.idle {
		if w.source == source {
			s.idle = append(s.idle[:i], s.idle[i+1:]...)
			s.mu.Unlock()
			return w, nil
		}
	}
	s.mu.Unlock()
	return newWorker(ctx, source, s.time)
}

// keep has a worker wait for the next rendering, and ends the one that has
// waited for the longest if they are too many.
func (s *Sandbox) keep(w *worker) {
	w.waited = true
	s.mu.Lock()
	s.idle = append(s.idle, w)
	var old *worker
	if len(s.idle) > maxIdle {
		old, s.idle = s.idle[0], s.idle[1:]
	}
	s.mu.Unlock()
	if old != nil {
		old.end()
	}
}
