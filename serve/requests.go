package serve

import (
	"context"
	"errors"
	"sync"
)

// errDrainDeadline is why a generation ends that the shutdown did not wait for.
var errDrainDeadline = errors.New("the server shut down before the answer was complete")

// requests counts the generations that run, so that a shutdown can wait.
type requests struct {
	mu       sync.Mutex
	running  int
	draining bool
	idle     chan struct{} // closed when draining and none runs
}

func newRequests() *requests { return &requests{idle: make(chan struct{})} }

// begin counts a generation, and refuses it while draining.
func (r *requests) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return draining()
	}
	r.running++
	return nil
}

func (r *requests) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if r.draining && r.running == 0 {
		close(r.idle)
	}
}

// drain refuses new generations from now on and waits for those that run.
func (r *requests) drain(ctx context.Context) error {
	r.mu.Lock()
	if !r.draining {
		r.draining = true
		if r.running == 0 {
			close(r.idle)
		}
	}
	r.mu.Unlock()
	select {
	case <-r.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *requests) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}
