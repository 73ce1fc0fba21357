package serve

import (
	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/serve/keys"
	"github.com/peft-serve/peft-serve/serve/page"
)

// webpage answers a browser with the page of package page. It tells nothing of
// the server: what it shows, it asks for with the key of who looks at it.
func (s *Server) webpage(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.Set(fiber.HeaderContentSecurityPolicy, page.Policy)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set(fiber.HeaderCacheControl, "no-cache")
	return c.SendString(page.HTML)
}

// opensPage reports whether a browser follows a link to the page. It may come
// from anywhere: the page cannot be framed, and tells nothing.
func opensPage(c *fiber.Ctx) bool {
	return c.Path() == "/" && (c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead) &&
		c.Get("Sec-Fetch-Mode") == "navigate" && c.Get("Sec-Fetch-Dest") == "document"
}

// callerView is what GET /v1/caller tells of who asks.
type callerView struct {
	Tenant      string       `json:"tenant"`
	Key         string       `json:"key,omitempty"` // its name; empty: the server has no keys
	Rights      []keys.Right `json:"rights"`
	Publishable string       `json:"publishable,omitempty"` // which names, in words; of a key that may publish
	ReadOnly    bool         `json:"read_only"`
	Uploads     bool         `json:"uploads"` // there is a folder for adapters, and it may be written
	Chat        bool         `json:"chat"`    // the base has a chat template
	Generates   bool         `json:"generates"`
	Classifies  bool         `json:"classifies"` // by a head that it has or that an adapter brings
}

// describeCaller tells who one is here, and what one may do.
func (s *Server) describeCaller(c *fiber.Ctx) error {
	who := callerOf(c)
	view := callerView{
		Tenant: who.tenant.Name, Key: keyName(c), Rights: []keys.Right{},
		ReadOnly: s.config.ReadOnly, Uploads: s.catalogue != nil && s.config.Adapters != "" && !s.config.ReadOnly, Chat: s.templates.base != nil,
		Generates: s.base.Architecture.Does(models.Generate), Classifies: s.base.Architecture.Does(models.Classify),
	}
	for _, right := range []keys.Right{keys.Use, keys.Publish, keys.Metrics, keys.Admin} {
		if who.may(right) {
			view.Rights = append(view.Rights, right)
		}
	}
	if who.key != nil && who.may(keys.Publish) && !who.may(keys.Admin) {
		view.Publishable = who.key.Publishable()
	}
	return writeJSON(c, fiber.StatusOK, view)
}
