package serve

import (
	"net/url"

	"github.com/gofiber/fiber/v2"

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

func (s *Server) openAINaming(model string) naming {
	if model == s.config.Name { // OpenAI's clients have to send a model: this names no adapter
		return naming{where: "model", base: true}
	}
	return naming{where: "model", name: model}
}

func (s *Server) modelCards(c *fiber.Ctx) []modelCard {
	card := modelCard{ID: s.config.Name, Object: "model", Created: s.started.Unix(), OwnedBy: "peft-serve", Root: s.config.Source, Context: s.context, Tasks: s.base.Architecture.Tasks}
	if !callerOf(c).may(keys.Admin) {
		card.Root = s.config.Name
	}
	cards := []modelCard{card}
	for _, e := range s.listed(c) {
		if !answers(e) {
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
