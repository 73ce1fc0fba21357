package serve

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// methods are those of HTTP, as IANA registers them: a path does not take most of
// them, which is a 405. Any other word is a 501.
var methods = slices.Concat(fiber.DefaultMethods, []string{
	"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY",
	"MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PRI", "PROPFIND", "PROPPATCH", "QUERY",
	"REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
})

// refuseUnknownMethods answers what fiber would refuse in plain text, before any
// handler: a method that HTTP does not have.
func (s *Server) refuseUnknownMethods(app *fiber.App) {
	known := app.Server().Handler
	app.Server().Handler = func(r *fasthttp.RequestCtx) {
		if slices.Contains(methods, string(r.Method())) {
			known(r)
			return
		}
		c := app.AcquireCtx(r)
		defer app.ReleaseCtx(c)
		f := &failure{
			status: http.StatusNotImplemented, kind: invalidRequest, code: "no_method",
			message: fmt.Sprintf("%s is no method of HTTP: GET /openapi.json describes the routes", r.Method()),
		}
		leaveUnread(r)
		_ = writeJSON(c, f.status, dialectOf(c).errorBody(f))
	}
}
