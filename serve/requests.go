package serve

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
)

// errDrainDeadline is why a generation ends that the shutdown did not wait for.
var errDrainDeadline = errors.New("the server shut down before the answer was complete")

// requests counts the generations that run, so that a shutdown can wait.
type requests struct {
	mu       sync.Mutex
	running  int
	leaving  bool // it takes requests, and says that it will not for long
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

// leave says from now on that requests are to go elsewhere.
func (r *requests) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving = true
}

func (r *requests) isLeaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaving || r.draining
}

func (r *requests) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// errClientGone is why a generation ends whose client closed the connection.
// Neither fasthttp nor fiber tells: a stream learns of it at a failed Flush,
// and a handler that waits never does. So a watcher cancels the work of clients
// that have gone away: see connection_linux.go, and connection_poll.go for the
// BSDs and macOS.
var errClientGone = errors.New("the client closed the connection")

// attend returns a context that ends when the client goes away, the server does,
// or the time for a request is over. fasthttp's own ends only with the server.
func (s *Server) attend(c *fiber.Ctx) (ctx context.Context, done func()) {
	ctx, cancel := s.limited(callerOf(c).limits.Timeout, time.Time{})
	remove := s.watcher.add(c.Context().Conn(), cancel)
	return ctx, func() {
		remove()
		cancel(context.Canceled)
	}
}
