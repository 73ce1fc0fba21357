package serve

import (
	"bytes"
	"sync"

	"github.com/gofiber/fiber/v2"
)

// held is memory that is set aside for an answer: until it has been written, however
// slowly its client reads it, or has been given up.
type held struct{ release func() }

// end gives the memory back of an answer that has come to nothing.
func (h *held) end() {
	if h.release != nil {
		h.release()
	}
}

// writeJSON answers, and gives the memory back when the answer is written.
func (h *held) writeJSON(c *fiber.Ctx, v any) error {
	b, err := encode(v)
	if err == nil {
		h.write(c, b)
	}
	return err
}

// write is writeJSON of what has been encoded.
func (h *held) write(c *fiber.Ctx, b []byte) {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Context().Response.SetBodyStream(&heldText{bytes.NewReader(b), sync.OnceFunc(h.release)}, len(b))
	h.release = nil
}

// heldText is closed when all of it has been written, or nobody wants it any more.
type heldText struct {
	*bytes.Reader
	release func()
}

func (t *heldText) Close() error {
	t.release()
	return nil
}

// sentBytes is the size of an answer's body, which may not have been read yet.
func sentBytes(c *fiber.Ctx) int {
	if c.Response().IsBodyStream() {
		return c.Response().Header.ContentLength()
	}
	return len(c.Response().Body())
}
