package serve

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/gofiber/fiber/v2"
)

// recovered turns a panic of a handler into a failure of its request alone.
func (s *Server) recovered(c *fiber.Ctx) error {
	return caught(func() *slog.Logger { return s.config.Log.With("route", routeOf(c), "request", requestID(c)) }, c.Next)
}

// caught turns a panic of f into an error, and logs where it came from.
func caught(log func() *slog.Logger, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log().Error("panic in a handler", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the server failed inside: %v", p)
		}
	}()
	return f()
}

// measure counts every answer and gives an account of it; errors are written
// here, so that their status is known.
func (s *Server) measure(c *fiber.Ctx) error {
	account := s.open(c)
	if s.requests.isLeaving() {
		c.Context().SetConnectionClose()
	}
	if err := c.Next(); err != nil {
		if err := s.refuse(c, err); err != nil {
			return err
		}
		if c.Request().Header.ContentLength() != 0 && c.Context().RequestBodyStream() != nil && c.Locals(bodyRead) == nil {
			leaveUnread(c.Context())
		}
	}
	s.metrics.answered(c.Method(), routeOf(c), c.Response().StatusCode())
	if !account.stream {
		account.about(c)
		account.sent = sentBytes(c)
		account.close()
	}
	return nil
}
