package serve

import (
	_ "embed"
	"encoding/json"
	"sync"

	"github.com/gofiber/fiber/v2"
	"go.yaml.in/yaml/v3"
)

//go:generate go run ../scripts/apidoc openapi.yaml ../docs/api.md

//go:embed openapi.yaml
var openAPISource []byte

// openAPIJSON is the description of every route, in JSON. The source says once,
// under x-everywhere, what each route may answer beside its own.
var openAPIJSON = sync.OnceValues(func() ([]byte, error) {
	var description map[string]any
	if err := yaml.Unmarshal(openAPISource, &description); err != nil {
		return nil, err
	}
	everywhere, _ := description["x-everywhere"].(map[string]any)
	delete(description, "x-everywhere")
	paths, _ := description["paths"].(map[string]any)
	for _, path := range paths {
		methods, _ := path.(map[string]any)
		for _, method := range methods {
			operation, _ := method.(map[string]any) // or the path's parameters, which have no responses
			responses, _ := operation["responses"].(map[string]any)
			for status, response := range everywhere {
				if _, own := responses[status]; responses != nil && !own {
					responses[status] = response
				}
			}
		}
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
