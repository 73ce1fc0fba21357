package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
)

// loadRequest is the body of vLLM's POST /v1/load_lora_adapter.
type loadRequest struct {
	Name    string        `json:"lora_name"`
	Path    string        `json:"lora_path"`
	InPlace *bool         `json:"load_inplace"`
	Base    *string       `json:"base_model_name"`
	IntID   unimplemented `json:"lora_int_id"`
}

// unloadRequest is the body of vLLM's POST /v1/unload_lora_adapter.
type unloadRequest struct {
	Name  string  `json:"lora_name"`
	IntID ignored `json:"lora_int_id"`
}

// loadLoRA loads an adapter before it answers, and registers it only if it
// loads and computes finite values: a broken one never takes a good one's place.
func (s *Server) loadLoRA(c *fiber.Ctx) error {
	var body loadRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if body.Name == "" || body.Path == "" {
		return invalid("", "Both 'lora_name' and 'lora_path' must be provided.")
	}
	if base := or(body.Base, ""); base != "" && base != s.config.Name {
		return invalid("base_model_name", "base_model_name is '%s': the base here is '%s'; leave it out, or name that.", base, s.config.Name)
	}
	if body.Name == s.config.Name {
		return invalid("lora_name", "The lora adapter name '%s' is the name of the base model: give another.", body.Name)
	}
	auditOf(c).of(body.Name)
	ctx, done := s.attend(c)
	defer done()
	loaded := invalid("lora_name", "The lora adapter '%s' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.", body.Name)
	old, err := s.visible(c).Lookup(body.Name)
	if err == nil && !or(body.InPlace, false) {
		return loaded
	}
	auditOf(c).replaces(old.Digest)
	path, err := s.loadable(body.Path)
	if err != nil {
		return err
	}
	entry, err := s.visible(c).Swap(ctx, catalogue.Candidate{Name: body.Name, URI: path, New: !or(body.InPlace, false), Probe: s.probe(body.Name)})
	switch {
	case errors.Is(err, catalogue.ErrName):
		// Wider than an upload's, which becomes a folder: an adapter of the hub may keep its name.
		return invalid("lora_name", "%q is no name for an adapter: use 1 to 256 letters, digits and ._-@:+, parted by single slashes if need be, no part beginning with a dot", body.Name)
	case errors.Is(err, catalogue.ErrExists):
		return loaded
	case errors.Is(err, catalogue.ErrSource):
		return notFound("", "lora_path", "No adapter found for '%s': %s", body.Name, err)
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return loadFault(body.Name, err)
	}
	auditOf(c).becomes(entry.Digest)
	return c.Status(http.StatusOK).SendString(fmt.Sprintf("Success: LoRA adapter '%s' added successfully.", body.Name))
}

func (s *Server) unloadLoRA(c *fiber.Ctx) error {
	var body unloadRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if body.Name == "" {
		return invalid("lora_name", "'lora_name' needs to be provided to unload a LoRA adapter.")
	}
	auditOf(c).of(body.Name)
	ctx, done := s.attend(c)
	defer done()
	err := s.visible(c).Remove(ctx, body.Name, func(e catalogue.Entry) error {
		auditOf(c).replaces(e.Digest)
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, catalogue.ErrUnknown) || errors.Is(err, catalogue.ErrName) {
			return notFound("", "lora_name", "The lora adapter '%s' cannot be found.", body.Name)
		}
		return err
	}
	return c.Status(http.StatusOK).SendString(fmt.Sprintf("Success: LoRA adapter '%s' removed successfully.", body.Name))
}
