package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// loadRequest is the body of vLLM's POST /v1/load_lora_adapter.
type loadRequest struct {
	Name    string        `json:"lora_name"`
	Path    string        `json:"lora_path"`
	InPlace *bool         `json:"load_inplace"`
	Base    unimplemented `json:"base_model_name"`
	IntID   unimplemented `json:"lora_int_id"`
}

// unloadRequest is the body of vLLM's POST /v1/unload_lora_adapter.
type unloadRequest struct {
	Name  string  `json:"lora_name"`
	IntID ignored `json:"lora_int_id"`
}

// loadLoRA registers an adapter and loads it before it answers; one that does
// not load is not kept.
func (s *Server) loadLoRA(c *fiber.Ctx) error {
	var body loadRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if body.Name == "" || body.Path == "" {
		return invalid("", "Both 'lora_name' and 'lora_path' must be provided.")
	}
	if body.Name == s.config.Name {
		return invalid("lora_name", "The lora adapter name '%s' is the name of the base model: give another.", body.Name)
	}
	ctx, done := s.attend(c)
	defer done()
	defer s.publishing.lock(body.Name)()
	previous, err := s.catalogue.Lookup(body.Name)
	if errors.Is(err, runtime.ErrAdapterName) {
		return invalidName("lora_name", body.Name)
	}
	known := err == nil
	if known && !or(body.InPlace, false) {
		return invalid("lora_name", "The lora adapter '%s' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.", body.Name)
	}
	path, err := s.loadable(body.Path)
	if err != nil {
		return err
	}
	err = s.tryAdapter(ctx, body.Name, path)
	if err == nil {
		err = s.catalogue.Replace(body.Name, path)
	}
	if errors.Is(err, runtime.ErrAdapterSource) || errors.Is(err, os.ErrNotExist) {
		return notFound("", "lora_path", "No adapter found for '%s': %s", body.Name, err)
	}
	if err != nil {
		return err
	}
	if _, err := s.catalogue.Load(ctx, body.Name); err != nil {
		undo := s.catalogue.Remove
		if known {
			undo = func(name string) error { return s.catalogue.Replace(name, previous.URI) }
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return errors.Join(loadFault(body.Name, err), undo(body.Name))
	}
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
	defer s.publishing.lock(body.Name)()
	if err := s.catalogue.Remove(body.Name); err != nil {
		if errors.Is(err, runtime.ErrUnknownAdapter) || errors.Is(err, runtime.ErrAdapterName) {
			return notFound("", "lora_name", "The lora adapter '%s' cannot be found.", body.Name)
		}
		return err
	}
	return c.Status(http.StatusOK).SendString(fmt.Sprintf("Success: LoRA adapter '%s' removed successfully.", body.Name))
}

// tryAdapter loads a folder against the base without registering it, so that
// a broken one never takes a good one's place. A URI that is no folder is
// left for the catalogue to fetch.
func (s *Server) tryAdapter(ctx context.Context, name, path string) error {
	if s.load == nil || !isFolderPath(path) {
		return nil
	}
	stat, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !stat.IsDir() {
		return fmt.Errorf("%w: %s is not a folder", runtime.ErrAdapterSource, path)
	}
	if _, err := s.load(ctx, runtime.Source{Name: name, URI: path, Dir: path}); err != nil {
		return &adapterError{name, err}
	}
	return nil
}
