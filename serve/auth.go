package serve

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// A caller is who sends a request, and the settings that hold for it until it is
// answered, whatever is reloaded meanwhile.
type caller struct {
	*settings
	key    *keys.Key // nil: none, or none that is known
	tenant *runtime.Tenant
	scope  string            // of what it finds in the prefix cache
	paths  *strings.Replacer // takes the server's folders out of a text
}

const callerKey = "caller"

// recognise finds out who sends a request, and notes it for callerOf.
func (s *Server) recognise(c *fiber.Ctx) {
	now := s.settings.Load()
	who := &caller{settings: now, paths: s.hidePaths}
	if now.keys != nil {
		who.key = now.keys.Find(bearer(c.Get(fiber.HeaderAuthorization)))
	}
	if who.key == nil {
		who.tenant = addressTenant(c)
	} else {
		who.tenant = now.tenants[who.key.Tenant]
		if !s.config.SharePrefixes {
			who.scope = who.tenant.Name
		}
	}
	c.Locals(callerKey, who)
}

// callerOf is who sends a request of a route.
func callerOf(c *fiber.Ctx) *caller { return c.Locals(callerKey).(*caller) }

// keyName is the name of the key that a request carries; empty: none.
func keyName(c *fiber.Ctx) string {
	if who, ok := c.Locals(callerKey).(*caller); ok && who.key != nil {
		return who.key.Name
	}
	return ""
}

// tenantName is the name of the tenant whose key a request carries; empty: none.
func tenantName(c *fiber.Ctx) string {
	if who, ok := c.Locals(callerKey).(*caller); ok && who.key != nil {
		return who.tenant.Name
	}
	return ""
}

// bearer is the secret that an Authorization header carries.
func bearer(authorization string) string {
	scheme, secret, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// may reports whether the caller has a right. Where the server has no keys,
// everybody has all.
func (w *caller) may(right keys.Right) bool {
	return w.keys == nil || w.key != nil && w.key.May(right)
}

// needs recognises who sends a request, and lets it through if its key has a right.
func (s *Server) needs(right keys.Right) fiber.Handler {
	return func(c *fiber.Ctx) error {
		s.recognise(c)
		if err := lacks(c, right); err != nil {
			return err
		}
		return c.Next()
	}
}

// lacks reports a request that needs a right and has it not.
func lacks(c *fiber.Ctx, right keys.Right) error {
	switch who := callerOf(c); {
	case right == open || who.keys == nil:
	case who.key == nil:
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
		return unauthorized()
	case right != anyKey && !who.key.May(right):
		return forbidden("the key %q lacks the right %s, which %s %s needs", who.key.Name, right, c.Method(), c.Route().Path)
	}
	return nil
}

func unauthorized() *failure {
	return &failure{
		status: http.StatusUnauthorized, kind: invalidRequest, code: "invalid_api_key",
		message: "the API key is missing or wrong: send it as Authorization: Bearer KEY",
	}
}

// What a route needs beside the rights of keys.
const (
	anyKey keys.Right = ""     // a key, whatever its rights
	open   keys.Right = "open" // no key
)

func forbidden(format string, args ...any) *failure {
	return &failure{status: http.StatusForbidden, kind: "permission_error", code: "forbidden", message: fmt.Sprintf(format, args...)}
}
