package serve

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// naming is one place where a request names an adapter.
type naming struct {
	where string // as the client wrote it
	name  string
	base  bool // it names the base, whatever else names an adapter
}

// adapterFor returns the adapter that a request selects: by the query
// parameter adapter, the field of its body that the dialect has for it, or the
// X-Adapter header. Those that are there must agree; without any it is the
// base, "".
func (s *Server) adapterFor(c *fiber.Ctx, body naming) (string, error) {
	if err := knownQuery(c); err != nil {
		return "", err
	}
	var named []naming
	for _, v := range c.Context().QueryArgs().PeekMulti("adapter") {
		named = append(named, naming{where: "the query parameter adapter", name: string(v)})
	}
	named = append(named, body)
	for _, v := range c.Request().Header.PeekAll("X-Adapter") {
		named = append(named, naming{where: "the header X-Adapter", name: string(v)})
	}
	var chosen naming
	for _, n := range named {
		switch {
		case n.name == "":
		case chosen.name == "":
			chosen = n
		case n.name != chosen.name:
			return "", invalid(n.where, "%s names adapter %q and %s names %q: name one", chosen.where, chosen.name, n.where, n.name)
		}
	}
	switch {
	case chosen.name == s.config.Name:
		return "", s.unambiguous(chosen)
	case chosen.name != "":
		return chosen.name, s.known(chosen)
	case body.base:
		return "", s.unambiguous(body)
	}
	return "", nil
}

// knownQuery refuses a query parameter other than adapter: a misspelt one would
// get the base's answer.
func knownQuery(c *fiber.Ctx) error {
	for key := range c.Context().QueryArgs().All() {
		if name := string(key); name != "adapter" {
			return invalid(name, "%s is not a query parameter of this request: there is only adapter", name)
		}
	}
	return nil
}

// unambiguous refuses the base's name where an adapter has it too.
func (s *Server) unambiguous(n naming) error {
	if s.catalogue == nil {
		return nil
	}
	if _, err := s.catalogue.Lookup(s.config.Name); err == nil {
		return invalid(n.where, "%q is the name of the base and of an adapter: rename the adapter, or start the server with another --name", s.config.Name)
	}
	return nil
}

// known refuses an adapter that the catalogue does not have.
func (s *Server) known(n naming) error {
	if s.catalogue != nil {
		_, err := s.catalogue.Lookup(n.name)
		if !errors.Is(err, runtime.ErrUnknownAdapter) && !errors.Is(err, runtime.ErrAdapterName) {
			return err
		}
	}
	return unknownAdapter(n.where, n.name)
}

func unknownAdapter(param, name string) *failure {
	return &failure{
		status: http.StatusNotFound, kind: invalidRequest, code: "model_not_found", param: param,
		message: fmt.Sprintf("The model `%s` does not exist: GET /v1/models lists the base and its adapters.", name),
	}
}

// group is who a request counts for in fair queueing.
func group(c *fiber.Ctx) string { return c.Get("X-Gateway-Inference-Fairness-Id") }
