package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/memory"
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

// decodedBytes is what a byte of a body may come to in memory: "1," is a number of
// four bytes.
const decodedBytes = 4

// bodyWait is how long a body waits for the memory to be decoded in.
const bodyWait = 10 * time.Second

// readJSON decodes the request's body strictly into v.
func (s *Server) readJSON(c *fiber.Ctx, v any) error {
	body, err := s.readBody(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, bodyWait)
	defer cancel()
	release, err := s.memory.Take(ctx, memory.Bodies, decodedBytes*int64(len(body)))
	if err != nil {
		return err
	}
	defer release()
	return decode(body, v)
}

// readBody reads a body of at most the configured size: it comes as a stream,
// so that uploads can be larger.
func (s *Server) readBody(c *fiber.Ctx) ([]byte, error) {
	limit := int64(callerOf(c).limits.BodyLimit)
	if err := s.memory.Pressed(); err != nil {
		return nil, err
	}
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return c.Request().Body(), nil
	}
	body, err := io.ReadAll(&unpressed{io.LimitReader(stream, limit+1), s.memory})
	var pressed *memory.PressedError
	switch {
	case errors.As(err, &pressed):
		return nil, err
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

// unpressed is a body that is read while there is memory for it.
type unpressed struct {
	r      io.Reader
	memory *memory.Account
}

func (u *unpressed) Read(p []byte) (int, error) {
	if err := u.memory.Pressed(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
