package serve

import (
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// modelCard is an entry of /v1/models: the base, or an adapter, whose parent
// is the base.
type modelCard struct {
	ID      string  `json:"id"`
	Object  string  `json:"object"`
	Created int64   `json:"created"`
	OwnedBy string  `json:"owned_by"`
	Root    string  `json:"root"`
	Parent  *string `json:"parent"`
	Context int     `json:"max_model_len"`
	// Tasks are what it does, as PEFT's task_type calls it.
	Tasks []models.Task `json:"tasks"`
}

// openAINaming is what the field model names. OpenAI's clients have to send one:
// the base's name, and what they send for want of one, names no adapter.
func (s *Server) openAINaming(c *fiber.Ctx, model modelName) naming {
	name := string(model)
	if name == s.config.Name || slices.Contains(placeholders, name) && !s.hasAdapter(c, name) {
		return naming{where: "model", base: true}
	}
	return naming{where: "model", name: name}
}

// hasAdapter reports whether an adapter of that name is there for the sender.
func (s *Server) hasAdapter(c *fiber.Ctx, name string) bool {
	if s.catalogue == nil {
		return false
	}
	_, err := s.visible(c).Lookup(name)
	return err == nil
}

func (s *Server) modelCards(c *fiber.Ctx) []modelCard {
	card := modelCard{ID: s.config.Name, Object: "model", Created: s.started.Unix(), OwnedBy: "peft-serve", Root: s.config.Source, Context: s.context, Tasks: s.base.Architecture.Tasks}
	if !callerOf(c).may(keys.Admin) {
		card.Root = s.config.Name
	}
	cards := []modelCard{card}
	for _, e := range s.listed(c) {
		if !answers(e) || e.State == catalogue.Failed { // which GET /v1/adapters tells, with the reason
			continue
		}
		card.ID, card.Root, card.Parent = e.Name, folderOf(e), &s.config.Name
		cards = append(cards, card)
	}
	return cards
}

func (s *Server) listModels(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, struct {
		Object string      `json:"object"`
		Data   []modelCard `json:"data"`
	}{"list", s.modelCards(c)})
}

func (s *Server) getModel(c *fiber.Ctx) error {
	id, err := url.PathUnescape(c.Params("*"))
	if err != nil {
		return invalid("model", "the path names no model: %s", err)
	}
	for _, card := range s.modelCards(c) {
		if card.ID == id {
			return writeJSON(c, fiber.StatusOK, card)
		}
	}
	return unknownAdapter("model", id)
}
