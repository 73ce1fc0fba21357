package serve

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// naming is one place where a request names an adapter, or a combination.
type naming struct {
	where string // as the client wrote it
	name  string
	parts []catalogue.Part // of a combination that is named by them, and not by a text; nil
	base  bool             // it names the base, whatever else names an adapter

	resident bool // of several: it was in memory when the request came
}

// selection is what a request is answered by: the base, or the version of an
// adapter, or of those of a combination, that its lease is on, from the prompt's
// first token to the answer's last.
type selection struct {
	lease      *catalogue.Lease // nil: the base
	text       *tokenizer.Tokenizer
	vocabulary int                       // tokens of its rows
	sampling   adapters.SamplingDefaults // that the adapter recommends
	who        *caller
}

// room is how many tokens of a prompt a context holds beside the adapter's virtual ones.
func (to selection) room(context int) int {
	if a := to.lease.Adapter(); a != nil {
		context -= a.VirtualTokens() + a.PrefixTokens()
	}
	return max(context, 0)
}

// selected resolves the adapter that a request names, in its body or beside it,
// and waits until it is in memory, since only then is known what prompts it
// takes. The caller releases the lease.
func (s *Server) selected(c *fiber.Ctx, body ...naming) (selection, error) {
	if err := lacks(c, keys.Use); err != nil {
		return selection{}, err
	}
	chosen, err := s.adapterFor(c, body)
	if err != nil || chosen.name == "" {
		return selection{text: s.text, vocabulary: s.vocabulary, who: callerOf(c)}, err
	}
	if s.catalogue == nil {
		return selection{}, unknownAdapter(chosen.where, chosen.name)
	}
	lease, err := s.lease(s.visible(c), chosen, sessionOf(c))
	account := accountOf(c)
	account.adapter = lease.Name()
	if err == nil && !lease.Ready() {
		account.loaded.from = time.Now()
		err = s.await(c, lease)
		account.loaded.to = time.Now()
	}
	if err == nil {
		err = lease.Err()
	}
	account.digest = lease.Identity()
	if err != nil {
		lease.Release()
		return selection{}, leaseFault(chosen, err)
	}
	a := lease.Adapter()
	return selection{lease, s.textOf(a), a.Vocabulary(), a.Sampling(), callerOf(c)}, nil
}

func isUnknown(err error) bool {
	return errors.Is(err, catalogue.ErrUnknown) || errors.Is(err, catalogue.ErrName)
}

// await waits for an adapter, among those of the engine's queue.
func (s *Server) await(c *fiber.Ctx, lease *catalogue.Lease) error {
	if s.requests.isDraining() {
		return draining()
	}
	ctx, done := s.attend(c)
	defer done()
	return s.engine.Await(ctx, lease, tenantOf(c), group(c))
}

// textOf is the tokenizer that an adapter's text is read and written with: its
// own, or the base's.
func (s *Server) textOf(a catalogue.Adapter) *tokenizer.Tokenizer {
	if own := a.Tokenizer(); own != nil {
		return own
	}
	return s.text
}

// adapterFor returns what a request names: in the query parameter adapter, the
// fields of its body that the dialect has for it, or the X-Adapter header. Those
// that are there must agree; without any it is the base, "".
func (s *Server) adapterFor(c *fiber.Ctx, body []naming) (naming, error) {
	if err := knownQuery(c); err != nil {
		return naming{}, err
	}
	var named []naming
	for _, v := range c.Context().QueryArgs().PeekMulti("adapter") {
		named = append(named, naming{where: "the query parameter adapter", name: string(v)})
	}
	named = append(named, body...)
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
			return naming{}, invalid(n.where, "%s names adapter %q and %s names %q: name one", chosen.where, chosen.name, n.where, n.name)
		}
	}
	switch {
	case isPattern(chosen.name):
		return naming{}, refusePattern(chosen)
	case chosen.name == s.config.Name:
		return naming{}, s.unambiguous(s.visible(c), chosen)
	case chosen.name == "":
		for _, n := range body {
			if n.base {
				return naming{}, s.unambiguous(s.visible(c), n)
			}
		}
	}
	return chosen, nil
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
func (s *Server) unambiguous(known Catalogue, n naming) error {
	if known == nil {
		return nil
	}
	if _, err := known.Lookup(s.config.Name); err == nil {
		return invalid(n.where, "%q is the name of the base and of an adapter: rename the adapter, or start the server with another --name", s.config.Name)
	}
	return nil
}

func unknownAdapter(param, name string) *failure {
	return &failure{
		status: http.StatusNotFound, kind: invalidRequest, code: "model_not_found", param: param,
		message: fmt.Sprintf("The model `%s` does not exist: GET /v1/models lists the base and its adapters.", name),
	}
}

// sessionOf is what a canary goes by: requests that say the same X-Session-Id get the
// same version. It is the header that gateways of language models keep sessions
// together by; that of llm-d (x-session-token) is no session's but a Pod's, and
// X-Gateway-Inference-Fairness-Id is a tenant's.
func sessionOf(c *fiber.Ctx) string {
	if session := c.Get("X-Session-Id"); session != "" {
		return session
	}
	return requestID(c)
}

// group is who a request counts for in fair queueing.
func group(c *fiber.Ctx) string { return c.Get("X-Gateway-Inference-Fairness-Id") }
