package serve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
)

// An auditEntry is one attempt to change the adapters: a line of the audit log,
// whatever came of it.
type auditEntry struct {
	action  string // publish, replace, delete, pin, unpin, load, unload
	adapter string
	old     string // digest of the version in memory before; empty: none was
	new     string // of the one after
}

const auditKey = "audit"

// audited makes the requests of a route leave an entry, those that are refused
// before they reach their handler too.
func (s *Server) audited(action string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		e := &auditEntry{action: action}
		c.Locals(auditKey, e)
		if name, err := adapterParam(c); err == nil {
			e.of(name)
		}
		err := errPanicked
		defer func() { s.audit(c, e, err) }()
		err = c.Next()
		return err
	}
}

// told are the handlers that come first on a route, for what is told of its
// requests.
func (s *Server) told(r route) (handlers []fiber.Handler) {
	if r.needs == open {
		handlers = append(handlers, quietly)
	}
	if r.audit != "" {
		handlers = append(handlers, s.audited(r.audit))
	}
	return handlers
}

// errPanicked is what a handler ended with that did not return.
var errPanicked = errors.New("the handler panicked")

// auditOf is the entry of a request; nil, of which all methods may be called:
// it changes nothing.
func auditOf(c *fiber.Ctx) *auditEntry {
	e, _ := c.Locals(auditKey).(*auditEntry)
	return e
}

// auditable are the texts that can be the name of an adapter here. Another is no
// name, and what else a client may have written there is not logged.
var auditable = regexp.MustCompile(`^[\w.@:+/-]{1,256}$`)

func (e *auditEntry) of(adapter string) {
	if e != nil && auditable.MatchString(adapter) {
		e.adapter = adapter
	}
}

// replaces notes the version that goes.
func (e *auditEntry) replaces(digest string) {
	if e != nil {
		e.old = digest
	}
}

// publishes notes whether a version goes.
func (e *auditEntry) publishes(old catalogue.Entry, known bool) {
	if e != nil && known {
		e.action = "replace"
		e.replaces(old.Digest)
	}
}

// becomes notes the version that is there now.
func (e *auditEntry) becomes(digest string) {
	if e != nil {
		e.new = digest
	}
}

// audit writes an entry. Err is what the route's handlers returned.
func (s *Server) audit(c *fiber.Ctx, e *auditEntry, err error) {
	status, outcome, code := c.Response().StatusCode(), "done", ""
	if err != nil {
		f := failureOf(err)
		status, outcome, code = dialectOf(c).status(f), "refused", f.code
		if status >= http.StatusInternalServerError {
			outcome = "failed"
		}
	}
	all := make([]slog.Attr, 0, 12)
	text := func(name, value string) {
		if value != "" {
			all = append(all, slog.String(name, value))
		}
	}
	text("action", e.action)
	text("outcome", outcome)
	text("adapter", e.adapter)
	text("old_digest", e.old)
	text("new_digest", e.new)
	all = append(all, slog.Int("status", status))
	text("error", code)
	text("key", keyName(c))
	text("tenant", tenantName(c))
	text("client", c.IP())
	text("request", requestID(c))
	s.config.Audit.LogAttrs(context.Background(), slog.LevelInfo, "adapter", all...)
}
