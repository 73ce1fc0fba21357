package serve

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/gofiber/fiber/v2"
)

// newID is a fresh name for a request or an answer.
func newID() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

const requestIDKey = "request-id"

// identify gives each request a name: the client's, if it is a modest one.
func identify(c *fiber.Ctx) error {
	id := c.Get("X-Request-Id")
	if !isName(id) {
		id = newID()
	}
	c.Locals(requestIDKey, id)
	c.Set("X-Request-Id", id)
	return c.Next()
}

func requestID(c *fiber.Ctx) string {
	id, _ := c.Locals(requestIDKey).(string)
	return id
}

// isName reports whether s is a name that can stand in a header, a label or a
// path: 1 to 128 letters, digits and ._- and not beginning with a dot.
func isName(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
