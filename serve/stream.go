package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
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

// stream answers with server-sent events. The status and the headers are sent
// once the engine has taken the request: what it refuses has the status it
// deserves, and what goes wrong later is an event with the dialect's error
// object. While there is nothing to say, a comment now and then keeps proxies
// from cutting the connection.
func (s *Server) stream(c *fiber.Ctx, g *generation, d dialect, w streamWriter) error {
	if err := wholeOnly(c); err != nil {
		g.end()
		return err
	}
	conn := connectionOf(c.Context().Conn())
	g.events.bound(conn.waitedFor, s.patience)
	if err := g.start(); err != nil {
		g.end()
		return err
	}
	c.Set(fiber.HeaderContentType, "text/event-stream; charset=utf-8")
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set("X-Accel-Buffering", "no")
	adapterHeaders(c, g)
	who := callerOf(c)
	log := s.config.Log.With("route", routeOf(c), "request", requestID(c))
	g.account.stream = true
	g.account.about(c)
	streamBody(c, func(b *bufio.Writer) {
		defer g.account.close()
		defer g.end()
		defer context.AfterFunc(g.ctx, func() {
			if errors.Is(context.Cause(g.ctx), errUnread) {
				conn.abandon() // what waits to be sent, too
			}
		})()
		out := &eventStream{b, g.account}
		err := caught(func() *slog.Logger { return log }, func() error {
			err := g.write(out, w, s.config.KeepAlive)
			if errors.Is(err, runtime.ErrEnd) {
				return w.close(out)
			}
			return err
		})
		switch {
		case err == nil, errors.Is(err, errClientGone), errors.Is(err, errWrite), errors.Is(err, errUnread):
		default:
			g.account.refused(failureOf(err))
			if !errors.Is(err, runtime.ErrQueueFull) { // a refusal that came late
				log.Error("stream failed", "error", err)
			}
			err = errors.Join(out.send(d.errorBody(s.failureFor(who, err))), d.endStream(out))
		}
		if err != nil {
			log.Debug("stream given up", "error", err)
		}
	})
	return nil
}

// write writes the events of a generation as they come. It returns
// runtime.ErrEnd after the last.
func (g *generation) write(out *eventStream, w streamWriter, keepAlive time.Duration) error {
	var quiet <-chan time.Time // nil: never
	silence := time.NewTimer(keepAlive)
	defer silence.Stop()
	if keepAlive > 0 {
		quiet = silence.C
	}
	for {
		e, err := g.nextUnless(quiet)
		switch {
		case errors.Is(err, errQuiet):
			err = out.comment("keep-alive")
		case err == nil:
			err = w.write(out, e)
		}
		if err != nil {
			return err
		}
		silence.Reset(keepAlive)
	}
}

// streamBody sends the headers and then, in a goroutine of its own, what write
// writes: in chunks, and to a client of HTTP/1.0, which knows none, as it is until
// the connection ends.
func streamBody(c *fiber.Ctx, write func(*bufio.Writer)) {
	answer := &c.Context().Response
	if c.Request().Header.IsHTTP11() {
		answer.ImmediateHeaderFlush = true
		c.Context().SetBodyStreamWriter(write)
		return
	}
	answer.Header.SetContentLength(-2) // identity
	head := bytes.Clone(answer.Header.Header())
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(conn net.Conn) {
		out := bufio.NewWriter(conn)
		_, _ = out.Write(head) // it keeps its first error
		_ = out.Flush()
		write(out)
	})
}

// errWrite is a write to a client that no longer reads.
var errWrite = errors.New("the event could not be sent")

// An eventStream sends server-sent events, each at once.
type eventStream struct {
	w       *bufio.Writer
	account *account
}

// A namedEvent is one that the stream is to name, too.
type namedEvent interface{ named() string }

func (o *eventStream) send(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	if e, ok := v.(namedEvent); ok {
		return o.line("event: "+e.named()+"\ndata: ", b)
	}
	return o.raw(b)
}

func (o *eventStream) done() error { return o.raw([]byte("[DONE]")) }

func (o *eventStream) raw(b []byte) error { return o.line("data: ", b) }

// comment sends what readers of events pass over.
func (o *eventStream) comment(text string) error { return o.line(": ", []byte(text)) }

func (o *eventStream) line(kind string, b []byte) error {
	const end = "\n\n"
	// A writer keeps its first error for Flush.
	_, _ = o.w.WriteString(kind)
	_, _ = o.w.Write(b)
	_, _ = o.w.WriteString(end)
	if err := o.w.Flush(); err != nil {
		err = errors.Join(errWrite, err)
		o.account.refused(failureOf(err))
		return err
	}
	o.account.sent += len(kind) + len(b) + len(end)
	return nil
}
