package serve

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
)

// watchInterval is how long a client can be gone before its request is
// cancelled: about a step of a small model.
const watchInterval = 20 * time.Millisecond

// errClientGone is why a generation ends whose client closed the connection.
var errClientGone = errors.New("the client closed the connection")

// A watcher cancels the work of clients that have gone away. One goroutine
// polls every connection that waits for an answer, and runs only while there
// is one.
type watcher struct {
	mu      sync.Mutex
	watched map[*watch]struct{}
	polling bool
}

type watch struct {
	conn   net.Conn
	cancel context.CancelCauseFunc
}

// add watches a connection until the returned function is called.
func (w *watcher) add(conn net.Conn, cancel context.CancelCauseFunc) (remove func()) {
	entry := &watch{conn, cancel}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched == nil {
		w.watched = map[*watch]struct{}{}
	}
	w.watched[entry] = struct{}{}
	if !w.polling {
		w.polling = true
		go w.poll()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watched, entry)
	}
}

func (w *watcher) poll() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for range tick.C {
		w.mu.Lock()
		for entry := range w.watched {
			if gone(entry.conn) {
				entry.cancel(errClientGone)
				delete(w.watched, entry)
			}
		}
		if len(w.watched) == 0 {
			w.polling = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// attend returns a context that ends when the client goes away, or the server
// does. fasthttp's own ends only with the server.
func (s *Server) attend(c *fiber.Ctx) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	remove := s.watcher.add(c.Context().Conn(), cancel)
	return ctx, func() {
		remove()
		cancel(context.Canceled)
	}
}
