package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// adapterView is an adapter as /v1/adapters shows it.
type adapterView struct {
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Source     string     `json:"source"`
	Digest     string     `json:"digest,omitempty"`
	Method     string     `json:"method,omitempty"`
	Rank       int        `json:"rank,omitempty"`
	Bytes      int        `json:"bytes"`
	Pinned     bool       `json:"pinned"`
	Canary     float64    `json:"canary_percent,omitempty"`
	References int        `json:"references"`
	LastUsed   *time.Time `json:"last_used,omitempty"`
	Error      string     `json:"error,omitempty"`
	Warning    string     `json:"warning,omitempty"`
	Example    string     `json:"example,omitempty"`
	Classes    int        `json:"classes,omitempty"` // that the head tells apart, of a version in memory that has one
}

func (s *Server) viewOf(e catalogue.Entry) adapterView {
	v := adapterView{
		Name: e.Name, State: string(e.State), Source: e.URI, Digest: e.Digest, Method: e.Method, Rank: e.Rank,
		Bytes: e.Bytes, Pinned: e.Pinned, Canary: e.Percent, References: e.References, Warning: e.Warning, Example: s.config.Examples[e.URI],
	}
	if e.Adapter != nil && e.Adapter.Classes() != nil {
		v.Classes = len(e.Adapter.Classes().Names)
	}
	if !e.LastUsed.IsZero() {
		v.LastUsed = &e.LastUsed
	}
	if e.Err != nil {
		v.Error = e.Err.Error()
	}
	return v
}

// listed are the adapters that a request's sender sees, after a look at their
// folder.
func (s *Server) listed(c *fiber.Ctx) []catalogue.Entry {
	if s.catalogue == nil {
		return nil
	}
	return s.visible(c).List()
}

func (s *Server) listAdapters(c *fiber.Ctx) error {
	answer := struct {
		Adapters []adapterView `json:"adapters"`
		Used     int           `json:"bytes_used"`
		Budget   int           `json:"bytes_budget"`
		Folder   string        `json:"folder,omitempty"` // of uploads
	}{Adapters: []adapterView{}}
	if callerOf(c).may(keys.Admin) {
		answer.Folder = s.config.Adapters
	}
	for _, e := range s.listed(c) {
		answer.Adapters = append(answer.Adapters, s.viewOf(e))
	}
	if s.catalogue != nil {
		answer.Used, answer.Budget = s.visible(c).Bytes()
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// adapterParam is the adapter that the path names; a slash in its name is
// written %2F.
func adapterParam(c *fiber.Ctx) (string, error) {
	name, err := url.PathUnescape(c.Params("name"))
	if err != nil {
		return "", invalid("name", "the path names no adapter: %s", err)
	}
	return name, nil
}

func invalidName(param, name string) *failure {
	return invalid(param, "%q is no name for an adapter: use 1 to 128 letters, digits, dots, dashes and underscores, the first not a dot", name)
}

func (s *Server) getAdapter(c *fiber.Ctx) error {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	e, err := s.visible(c).Lookup(name)
	if err != nil {
		return s.adapterFault(name, err)
	}
	auditOf(c).becomes(e.Digest)
	return writeJSON(c, fiber.StatusOK, s.viewOf(e))
}

// adapterFault is a catalogue's error as an answer.
func (s *Server) adapterFault(name string, err error) error {
	if errors.Is(err, catalogue.ErrUnknown) {
		return notFound("adapter_not_found", "name", "adapter %q is not known here: GET /v1/adapters lists them", name)
	}
	return loadFault(name, err)
}

func (s *Server) pinAdapter(c *fiber.Ctx) error {
	ctx, done := s.attend(c)
	defer done()
	return s.changeAdapter(c, func(name string) error {
		err := s.visible(c).Pin(ctx, name)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	})
}

func (s *Server) unpinAdapter(c *fiber.Ctx) error {
	return s.changeAdapter(c, s.visible(c).Unpin)
}

func (s *Server) changeAdapter(c *fiber.Ctx, change func(name string) error) error {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	if err := change(name); err != nil {
		return s.adapterFault(name, err)
	}
	return s.getAdapter(c)
}

// deleteAdapter forgets an adapter: requests that run keep their version. Its
// files go too, all versions, if they are where PUT writes those of that name; if
// they are there and no PUT wrote them, nothing is done, and neither is where the
// client has left before its turn.
func (s *Server) deleteAdapter(c *fiber.Ctx) error {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	ctx, done := s.attend(c)
	defer done()
	var taken []string
	err = s.visible(c).Remove(ctx, name, func(e catalogue.Entry) (err error) {
		auditOf(c).replaces(e.Digest)
		taken, err = s.takeFiles(name, folderOf(e))
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.adapterFault(name, err)
	}
	for _, folder := range taken {
		if err := disk.RemoveAll(folder); err != nil { // which the next start does
			s.config.Log.Warn("an adapter is deleted, but its files cannot be removed", "adapter", name, "folder", folder, "error", err)
		}
	}
	return c.SendStatus(http.StatusNoContent)
}

// takenFault is why an adapter's folder stays.
func takenFault(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	return &failure{status: http.StatusInternalServerError, kind: serverFault, message: fmt.Sprintf("the adapter's folder cannot be removed: %s", cause(err))}
}

// folderOf is the local folder of an adapter, or its URI.
func folderOf(e catalogue.Entry) string { return strings.TrimPrefix(e.URI, "file://") }

func isFolderPath(uri string) bool { return !strings.Contains(uri, "://") }
