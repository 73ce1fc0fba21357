package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// authorize lets requests through that carry one of the API keys. Keys are
// compared by their hashes, in a time that tells nothing of them.
func (s *Server) authorize(c *fiber.Ctx) error {
	scheme, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	given := sha256.Sum256([]byte(strings.TrimSpace(key)))
	match := 0
	for _, k := range s.config.APIKeys {
		want := sha256.Sum256([]byte(k))
		match |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	if match == 1 && strings.EqualFold(scheme, "Bearer") {
		return c.Next()
	}
	c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	return &failure{
		status: http.StatusUnauthorized, kind: invalidRequest, code: "invalid_api_key",
		message: "the API key is missing or wrong: send it as Authorization: Bearer KEY",
	}
}
