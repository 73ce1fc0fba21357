package serve

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// What can be refused by the head of a request is refused before its body has
// come. fasthttp waits for the first 8 KiB of a body before it calls a handler,
// except where the client asks whether to send it (Expect: 100-continue). So a
// gate looks at the head of every request that announces a body: an app with the
// routes of the real one and their checks of the head, without their handlers.
// Whom it refuses counts as one who asked; the real app answers, and the
// connection ends.
type gate struct {
	app    fasthttp.RequestHandler
	served fasthttp.RequestHandler // the real app
	heads  sync.Pool               // of *fasthttp.RequestCtx
}

// pass is the gate's handler of every route: the head is in order.
func pass(c *fiber.Ctx) error {
	c.Status(http.StatusContinue)
	return nil
}

// guard puts the gate before the real app.
func guard(served, checks *fiber.App, config Config) {
	g := &gate{app: checks.Handler(), served: served.Server().Handler}
	g.heads.New = func() any {
		var head fasthttp.RequestCtx
		head.Init(&fasthttp.Request{}, nil, quiet{config.Log})
		return &head
	}
	served.Server().HeaderReceived = func(h *fasthttp.RequestHeader) (wants fasthttp.RequestConfig) {
		if string(h.Method()) == fiber.MethodPut {
			wants.ReadTimeout = config.UploadTimeout
		}
		if length := h.ContentLength(); (length > 0 || length == -1) && !g.passes(h) {
			h.SetProtocol("HTTP/1.1") // nobody asks in 1.0
			h.Set(fiber.HeaderExpect, "100-continue")
		}
		return wants
	}
	served.Server().ExpectHandler = func(c *fasthttp.RequestCtx) int {
		if g.passes(&c.Request.Header) {
			return http.StatusContinue
		}
		g.served(c)
		leaveUnread(c)
		return c.Response.StatusCode()
	}
}

// passes reports whether nothing in the head of a request is wrong.
func (g *gate) passes(h *fasthttp.RequestHeader) bool {
	if !slices.Contains(methods, string(h.Method())) {
		return false
	}
	head := g.heads.Get().(*fasthttp.RequestCtx)
	defer func() {
		head.Request.Reset()
		head.Response.Reset()
		head.ResetUserValues()
		g.heads.Put(head)
	}()
	h.CopyTo(&head.Request.Header)
	g.app(head)
	return head.Response.StatusCode() == http.StatusContinue
}

// checks are the handlers of a route that look at nothing but the head of a
// request, and leave nothing behind: they run twice where there is a body.
func (s *Server) checks(r route) []fiber.Handler {
	handlers := []fiber.Handler{speaks(r.dialect), s.needs(r.needs)}
	if r.changes && s.config.ReadOnly {
		handlers = append(handlers, refuseChange)
	}
	if r.task != "" {
		if err := s.base.Architecture.Check(r.task); err != nil {
			handlers = append(handlers, refuseTask(err))
		}
	}
	if r.adapters && s.catalogue == nil {
		handlers = append(handlers, refuseAdapters)
	}
	if r.method == fiber.MethodPut {
		return append(handlers, s.named, s.publishable, announced(func(l Limits) int64 { return l.UploadLimit }, "upload-limit"))
	}
	return append(handlers, announced(func(l Limits) int64 { return int64(l.BodyLimit) }, "body-limit"), plainBody)
}

// announced refuses a body that says that it is longer than the limit.
func announced(limitOf func(Limits) int64, flag string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		limit := limitOf(callerOf(c).limits)
		if int64(c.Request().Header.ContentLength()) > limit {
			return tooLarge(limit, flag)
		}
		return c.Next()
	}
}

// plainBody refuses a body that is compressed.
func plainBody(c *fiber.Ctx) error {
	if encoding := c.Get(fiber.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return &failure{
			status: fiber.StatusUnsupportedMediaType, kind: invalidRequest, code: "content_encoding",
			message: fmt.Sprintf("the request body is compressed (Content-Encoding: %s): send it plain", encoding),
		}
	}
	return c.Next()
}

// quiet is the log of what fasthttp says of single connections: what it says, and
// not of what, where parts of the request may stand.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, _ ...any) { q.log.Debug("connection", "event", format) }
