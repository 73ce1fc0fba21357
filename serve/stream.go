package serve

import (
	"bufio"
	"errors"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// A streamWriter writes a generation's events in a dialect.
type streamWriter interface {
	write(out *eventStream, e choiceEvent) error
	close(out *eventStream) error
}

// stream answers with server-sent events. The status waits for the first
// event, so that what goes wrong before it has the status it deserves; what
// goes wrong later is an event with the dialect's error object.
func (s *Server) stream(c *fiber.Ctx, g *generation, d dialect, w streamWriter) error {
	first, err := g.next()
	if err != nil {
		g.end()
		return err
	}
	c.Set(fiber.HeaderContentType, "text/event-stream; charset=utf-8")
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set("X-Accel-Buffering", "no")
	adapterHeaders(c, g)
	c.Set("X-Queue-Time", milliseconds(g.queued))
	c.Set("X-Time-To-First-Token", milliseconds(g.firstEvent))
	conn := c.Context().Conn()
	who := callerOf(c)
	log := s.config.Log.With("path", c.Path(), "request", requestID(c))
	c.Context().SetBodyStreamWriter(func(b *bufio.Writer) {
		defer g.end()
		out := &eventStream{b, conn, s.config.WriteTimeout}
		err := w.write(out, first)
		for err == nil {
			var e choiceEvent
			if e, err = g.next(); err == nil {
				err = w.write(out, e)
			}
		}
		switch {
		case errors.Is(err, runtime.ErrEnd):
			err = w.close(out)
		case errors.Is(err, errClientGone) || errors.Is(err, errWrite):
		default:
			log.Error("stream failed", "error", err)
			err = errors.Join(out.send(d.errorBody(s.failureFor(who, err))), d.endStream(out))
		}
		if err != nil {
			log.Debug("stream given up", "error", err)
		}
	})
	return nil
}

// errWrite is a write to a client that no longer reads.
var errWrite = errors.New("the event could not be sent")

// An eventStream sends server-sent events, each at once. A client that leaves
// one unread for the timeout is given up.
type eventStream struct {
	w       *bufio.Writer
	conn    net.Conn
	timeout time.Duration
}

func (o *eventStream) send(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	return o.raw(b)
}

func (o *eventStream) done() error { return o.raw([]byte("[DONE]")) }

func (o *eventStream) raw(b []byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(o.timeout)); err != nil {
		return errors.Join(errWrite, err)
	}
	// A writer keeps its first error for Flush.
	_, _ = o.w.WriteString("data: ")
	_, _ = o.w.Write(b)
	_, _ = o.w.WriteString("\n\n")
	if err := o.w.Flush(); err != nil {
		return errors.Join(errWrite, err)
	}
	return nil
}
