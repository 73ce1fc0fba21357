package serve

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
)

// recovered turns a panic of a handler into a failure of its request alone.
func (s *Server) recovered(c *fiber.Ctx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.config.Log.Error("panic in a handler", "path", c.Path(), "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the server failed inside: %v", p)
		}
	}()
	return c.Next()
}

// measure counts and logs every answer; errors are written here, so that
// their status is known.
func (s *Server) measure(c *fiber.Ctx) error {
	started := time.Now()
	if err := c.Next(); err != nil {
		if err := s.refuse(c, err); err != nil {
			return err
		}
		if c.Request().Header.ContentLength() != 0 && c.Context().RequestBodyStream() != nil && c.Locals(bodyRead) == nil {
			leaveUnread(c.Context())
		}
	}
	status, took := c.Response().StatusCode(), time.Since(started)
	s.metrics.answered(c.Method(), c.Route().Path, status, took)
	s.config.Log.Debug("answered", "method", c.Method(), "path", c.Path(), "status", status, "took", took, "request", requestID(c))
	return nil
}
