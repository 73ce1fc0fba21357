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

// smallBody is how much of a body is read without memory set aside for it: most
// are not longer, and wait for nobody's that are.
const smallBody = 64 << 10

// bodyWait is how long a body waits for the memory to be read in, and for that to
// be decoded in.
const bodyWait = 10 * time.Second

// readJSON decodes the request's body strictly into v.
func (s *Server) readJSON(c *fiber.Ctx, v any) error {
	body, done, err := s.readBody(c)
	if err != nil {
		return err
	}
	defer done()
	if len(body) > smallBody {
		if err := s.decoded.spend(s.ctx, tenantOf(c).Name, len(body)); err != nil {
			return err
		}
	}
	release, err := s.takeForBody(memory.Bodies, decodedBytes*int64(len(body)))
	if err != nil {
		return err
	}
	defer release()
	if err := decode(body, v); err != nil {
		return err
	}
	return s.passOver(c, v)
}

func (s *Server) takeForBody(what string, bytes int64) (release func(), err error) {
	ctx, cancel := context.WithTimeout(s.ctx, bodyWait)
	defer cancel()
	return s.memory.Take(ctx, what, bytes)
}

// readBody reads a body of at most the configured size: it comes as a stream,
// so that uploads can be larger. Memory for all that a large one may hold is set
// aside until done is called, so that clients which send slowly, or not at all, take
// no more than there is for them together.
func (s *Server) readBody(c *fiber.Ctx) (body []byte, done func(), err error) {
	limit := int64(callerOf(c).limits.BodyLimit)
	if err := s.memory.Pressed(); err != nil {
		return nil, nil, err
	}
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return c.Request().Body(), func() {}, nil
	}
	in := &unpressed{io.LimitReader(stream, limit+1), s.memory}
	body, err = io.ReadAll(io.LimitReader(in, smallBody))
	done = func() {}
	if err == nil && len(body) == smallBody {
		most := limit + 1
		if said := int64(c.Request().Header.ContentLength()); said >= 0 {
			most = min(most, said)
		}
		if done, err = s.takeForBody(memory.Arriving, most); err != nil {
			return nil, nil, err
		}
		whole := bytes.NewBuffer(make([]byte, 0, most+bytes.MinRead)) // which it does not outgrow
		whole.Write(body)
		_, err = whole.ReadFrom(in)
		body = whole.Bytes()
	}
	if err = bodyFault(err); err == nil && int64(len(body)) > limit {
		err = tooLarge(limit, "body-limit")
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	c.Locals(bodyRead, true)
	return body, done, nil
}

// bodyFault is the answer to a body that cannot be read.
func bodyFault(err error) error {
	var pressed *memory.PressedError
	switch {
	case err == nil, errors.As(err, &pressed):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return tooSlow()
	}
	return invalid("", "the request body ends too early: %s", err)
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
