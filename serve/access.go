package serve

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/peft-serve/peft-serve/runtime"
)

// An account is what is told of a request when it is over: a line of the access
// log, and a trace. It holds nothing that a client wrote but for the request's
// and the trace's id: routes and not paths, codes of errors and not messages,
// names only of adapters that there are, and patterns of them.
type account struct {
	server *Server
	began  time.Time
	quiet  bool // a probe: seen at debug level, unless it fails

	request, client, method, route string
	key, tenant                    string
	parent                         trace.SpanContext // the client's
	trace                          trace.TraceID

	status int
	code   string // why it failed; empty: it did not
	sent   int    // bytes of the answer's body
	stream bool   // the answer goes on after its handler

	adapter, digest string
	loaded          interval // the wait for the adapter
	generates       bool
	arrived         time.Time // of the choices at the engine
	prompt          int       // tokens; the choices of one prompt count it once
	cached          int
	completion      int
	queued, first   time.Duration // the longest of its choices
	choices         []finishedChoice
}

type interval struct{ from, to time.Time }

type finishedChoice struct {
	index  int
	finish runtime.Finish
	usage  runtime.Usage
}

const accountKey = "account"

// open begins the account of a request.
func (s *Server) open(c *fiber.Ctx) *account {
	a := &account{server: s, began: time.Now()}
	c.Locals(accountKey, a)
	return a
}

// accountOf is a request's; nil, of which all methods may be called, where what
// came was no request.
func accountOf(c *fiber.Ctx) *account {
	a, _ := c.Locals(accountKey).(*account)
	return a
}

// quietly marks a probe's account.
func quietly(c *fiber.Ctx) error {
	accountOf(c).quiet = true
	return c.Next()
}

// refused notes why the request failed.
func (a *account) refused(f *failure) {
	if a == nil || a.code != "" {
		return
	}
	if a.code = f.code; a.code == "" {
		a.code = f.kind
	}
}

// generation notes what the engine is asked for.
func (a *account) generation(choices []*runtime.Request, arrived time.Time) {
	a.generates, a.arrived = true, arrived
	for i, r := range choices {
		if firstOfPrompt(choices, i) {
			a.prompt += len(r.Prompt)
		}
	}
	a.choices = make([]finishedChoice, 0, len(choices))
}

// firstOfPrompt reports whether choice i is the first of those that share its
// prompt, and not only its tokens.
func firstOfPrompt(choices []*runtime.Request, i int) bool {
	if i == 0 {
		return true
	}
	a, b := choices[i].Prompt, choices[i-1].Prompt
	return len(a) == 0 || len(b) == 0 || &a[0] != &b[0]
}

// event notes an event of a choice, the first of its prompt or not.
func (a *account) event(e choiceEvent, firstOfPrompt bool) {
	if e.Token != runtime.NoToken {
		a.completion++
	}
	u := e.Usage
	if u == nil {
		return
	}
	if firstOfPrompt {
		a.cached += u.CachedTokens
	}
	a.queued, a.first = max(a.queued, u.Queued), max(a.first, u.FirstToken)
	a.choices = append(a.choices, finishedChoice{e.index, e.Finish, *u})
}

// answered notes the answer to one of many texts.
func (a *account) answered(e runtime.Event) {
	a.generates = true
	if u := e.Usage; u != nil {
		a.prompt += u.PromptTokens
		a.cached += u.CachedTokens
		a.queued, a.first = max(a.queued, u.Queued), max(a.first, u.FirstToken)
	}
}

// about notes what only the request and its answer tell, before they are gone.
func (a *account) about(c *fiber.Ctx) {
	a.request, a.client, a.method, a.route = requestID(c), c.IP(), c.Method(), routeOf(c)
	a.key, a.tenant = keyName(c), tenantName(c)
	a.parent = traceParent(c)
	a.status = c.Response().StatusCode()
}

// routeOf is the route as it is registered; "" where the path has none.
func routeOf(c *fiber.Ctx) string {
	if _, ok := c.Locals(dialectKey).(dialect); !ok {
		return ""
	}
	return c.Route().Path
}

// close tells of the request, which is over.
func (a *account) close() {
	ended := time.Now()
	a.server.trace(a, ended)
	level := slog.LevelInfo
	if failed := a.status >= 400 || a.code != ""; !failed {
		if share := a.server.config.AccessLog; share < 1 && rand.Float64() >= share {
			return
		}
		if a.quiet {
			level = slog.LevelDebug
		}
	}
	log := a.server.config.Log
	if a.server.config.AccessLog < 0 || !log.Enabled(context.Background(), level) {
		return
	}
	log.LogAttrs(context.Background(), level, "request", a.attributes(ended)...)
}

// attributes are those that the request has.
func (a *account) attributes(ended time.Time) []slog.Attr {
	all := make([]slog.Attr, 0, 20)
	text := func(name, value string) {
		if value != "" {
			all = append(all, slog.String(name, value))
		}
	}
	text("request", a.request)
	if a.trace.IsValid() {
		text("trace", a.trace.String())
	}
	text("method", a.method)
	text("route", a.route)
	all = append(all, slog.Int("status", a.status))
	text("error", a.code)
	text("key", a.key)
	text("tenant", a.tenant)
	text("client", a.client)
	text("adapter", a.adapter)
	text("digest", a.digest)
	if a.generates {
		all = append(all, slog.Int("prompt_tokens", a.prompt), slog.Int("cached_tokens", a.cached), slog.Int("completion_tokens", a.completion),
			seconds("queue_seconds", a.queued), seconds("first_token_seconds", a.first))
	}
	return append(all, slog.Int("bytes", a.sent), seconds("seconds", ended.Sub(a.began)))
}

// seconds has one unit in logs for people and in those for collectors.
func seconds(name string, d time.Duration) slog.Attr {
	return slog.Float64(name, d.Round(time.Microsecond).Seconds())
}
