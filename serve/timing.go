package serve

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models"
)

// timing sums up the choices of a whole answer: the longest of each duration.
type timing struct {
	queued, inference, firstToken time.Duration
}

func (t *timing) add(e choiceEvent) {
	if u := e.Usage; u != nil {
		t.queued = max(t.queued, u.Queued)
		t.inference = max(t.inference, u.Total-u.Queued)
		t.firstToken = max(t.firstToken, u.FirstToken)
	}
}

// headers are LoRAX's, in milliseconds, and the version that answered.
func (t *timing) headers(c *fiber.Ctx, g *generation) {
	adapterHeaders(c, g)
	t.durations(c)
}

func (t *timing) durations(c *fiber.Ctx) {
	c.Set("X-Queue-Time", milliseconds(t.queued))
	c.Set("X-Inference-Time", milliseconds(t.inference))
	c.Set("X-Time-To-First-Token", milliseconds(t.firstToken))
}

// adapterHeaders name the adapter and its digest, and what the base's activations are
// rounded to; the base has neither, and may not round any.
func adapterHeaders(c *fiber.Ctx, g *generation) {
	g.server.activationsHeader(c)
	if g.lease != nil {
		c.Set("X-Adapter-Id", g.lease.Name())
		c.Set("X-Adapter-Digest", g.lease.Identity())
	}
}

func (s *Server) activationsHeader(c *fiber.Ctx) {
	if a := s.base.Activations; a != models.ActivationsF32 {
		c.Set("X-Activations", a.String())
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
