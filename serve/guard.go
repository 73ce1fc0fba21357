package serve

import (
	"fmt"
	"runtime/debug"

	"github.com/gofiber/fiber/v2"
)

// recovered turns a panic of a handler into a failure of its request alone.
func (s *Server) recovered(c *fiber.Ctx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.config.Log.Error("panic in a handler", "route", routeOf(c), "request", requestID(c), "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the server failed inside: %v", p)
		}
	}()
	return c.Next()
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
		account.sent = len(c.Response().Body())
		account.close()
	}
	return nil
}
