package serve

import (
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"
)

// errClientGone is why a generation ends whose client closed the connection.
// Neither fasthttp nor fiber tells: a stream learns of it at a failed Flush,
// and a handler that waits never does. So a watcher cancels the work of clients
// that have gone away: see connection_linux.go, and connection_poll.go for the
// BSDs and macOS.
var errClientGone = errors.New("the client closed the connection")

// attend returns a context that ends when the client goes away, the server does,
// or the time for a request is over. fasthttp's own ends only with the server.
func (s *Server) attend(c *fiber.Ctx) (ctx context.Context, done func()) {
	ctx, cancel := s.limited(time.Time{})
	remove := s.watcher.add(c.Context().Conn(), cancel)
	return ctx, func() {
		remove()
		cancel(context.Canceled)
	}
}
