package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/gofiber/fiber/v2"
)

// encode writes v as JSON without a newline; "<" stays "<".
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func writeJSON(c *fiber.Ctx, status int, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Status(status).Send(b)
}

// readJSON decodes the request's body strictly into v.
func (s *Server) readJSON(c *fiber.Ctx, v any) error {
	body, err := s.readBody(c)
	if err != nil {
		return err
	}
	return decode(body, v)
}

// readBody reads a body of at most the configured size: it comes as a stream,
// so that uploads can be larger.
func (s *Server) readBody(c *fiber.Ctx) ([]byte, error) {
	limit := int64(callerOf(c).limits.BodyLimit)
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return c.Request().Body(), nil
	}
	body, err := io.ReadAll(io.LimitReader(stream, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, tooSlow()
	case err != nil:
		return nil, invalid("", "the request body ends too early: %s", err)
	}
	if int64(len(body)) > limit {
		return nil, tooLarge(limit, "body-limit")
	}
	c.Locals(bodyRead, true)
	return body, nil
}

// bodyRead marks requests whose body has come to its end: after a failure their
// connections can go on.
const bodyRead = "body-read"
