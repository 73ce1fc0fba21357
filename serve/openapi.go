package serve

import (
	_ "embed"
	"encoding/json"
	"sync"

	"github.com/gofiber/fiber/v2"
	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPISource []byte

// openAPIJSON is the description of every route, in JSON.
var openAPIJSON = sync.OnceValues(func() ([]byte, error) {
	var description map[string]any
	if err := yaml.Unmarshal(openAPISource, &description); err != nil {
		return nil, err
	}
	return json.MarshalIndent(description, "", " ")
})

func (s *Server) openAPI(c *fiber.Ctx) error {
	description, err := openAPIJSON()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(description)
}
