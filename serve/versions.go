package serve

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/memory"
)

// versionsView are the versions of an adapter as GET /v1/adapters/NAME/versions
// shows them.
type versionsView struct {
	Name     string        `json:"name"`
	Live     string        `json:"live,omitempty"` // a digest; absent: it is not known before the adapter has been loaded
	Canary   *canaryView   `json:"canary,omitempty"`
	Keep     int           `json:"keep_versions"`
	Versions []versionView `json:"versions"`
}

type canaryView struct {
	Digest  string  `json:"digest"`
	Percent float64 `json:"percent"`
}

type versionView struct {
	Digest   string     `json:"digest,omitempty"`
	State    string     `json:"state"`
	Live     bool       `json:"live"`
	Canary   float64    `json:"canary_percent,omitempty"`
	Bytes    int        `json:"bytes"`
	Uploaded *time.Time `json:"uploaded,omitempty"` // absent: it was not
	Error    string     `json:"error,omitempty"`
}

// listVersions answers with the newest first.
func (s *Server) listVersions(c *fiber.Ctx) error {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	versions, alias, err := s.visible(c).Versions(name)
	if err != nil {
		return s.adapterFault(name, err)
	}
	view := versionsView{Name: name, Keep: s.config.KeepVersions, Versions: []versionView{}}
	if alias.Canary != "" {
		view.Canary = &canaryView{alias.Canary, alias.Percent}
	}
	for _, v := range versions {
		shown := versionView{Digest: v.Digest, State: string(catalogue.Known), Live: v.Live, Canary: v.Entry.Percent, Bytes: v.Entry.Bytes}
		if v.Entry.Name != "" {
			shown.State = string(v.Entry.State)
		}
		if v.Entry.Err != nil {
			shown.Error = v.Entry.Err.Error()
		}
		if at, ok := uploadedAt(v.Dir); ok {
			shown.Uploaded = &at
		}
		if v.Live {
			view.Live = v.Digest
		}
		view.Versions = append(view.Versions, shown)
	}
	slices.SortStableFunc(view.Versions, func(a, b versionView) int { return or(b.Uploaded, time.Time{}).Compare(or(a.Uploaded, time.Time{})) })
	return writeJSON(c, http.StatusOK, view)
}

// uploadedAt is when a folder was uploaded; false: it was not, or has been written
// to since.
func uploadedAt(folder string) (at time.Time, ok bool) {
	stat, err := os.Stat(filepath.Join(folder, markFile))
	if err != nil || !isUploaded(folder) {
		return at, false
	}
	return stat.ModTime().UTC(), true
}

// answers reports whether an entry is what its adapter's name means, rather than a
// canary or a version that has been replaced.
func answers(e catalogue.Entry) bool { return e.State != catalogue.Draining && e.Percent == 0 }

// contentOf is the digest of a version's files, which may be told as X-Adapter-Digest
// names the version: with the precision behind it that this server holds adapters in.
func (s *Server) contentOf(digest string) string {
	if s.config.Precision == adapters.AsStored {
		return digest
	}
	return strings.TrimSuffix(digest, "."+s.config.Precision.String())
}

// rollbackRequest is the body of POST /v1/adapters/NAME/rollback.
type rollbackRequest struct {
	Digest string `json:"digest"`
}

// rollbackAdapter makes a version that is on the disk the live one, once it has
// loaded. If it is the canary, that ends.
func (s *Server) rollbackAdapter(c *fiber.Ctx) error {
	var body rollbackRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if body.Digest == "" {
		return invalid("digest", "digest is missing: give that of a version, as GET /v1/adapters/NAME/versions lists them")
	}
	digest := s.contentOf(body.Digest)
	return s.redirect(c, redirection{digest, catalogue.Live, func(a catalogue.Alias) catalogue.Alias { return withLive(a, digest) }})
}

// canaryRequest is the body of POST /v1/adapters/NAME/canary.
type canaryRequest struct {
	Digest  string   `json:"digest"`
	Percent *float64 `json:"percent"`
}

// canaryAdapter has a version that is on the disk answer a share of the sessions,
// once it has loaded. A share of 0 ends the canary.
func (s *Server) canaryAdapter(c *fiber.Ctx) error {
	var body canaryRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	percent := or(body.Percent, -1)
	switch {
	case !(percent >= 0 && percent <= 100):
		return invalid("percent", "percent is missing or outside of 0 to 100: give the share of the sessions that the version is to answer, 0 to end the canary")
	case percent == 0:
		return s.redirect(c, redirection{"", catalogue.Kept, func(a catalogue.Alias) catalogue.Alias { return withCanary(a, "", 0) }})
	case body.Digest == "":
		return invalid("digest", "digest is missing: give that of a version, as GET /v1/adapters/NAME/versions lists them")
	}
	digest := s.contentOf(body.Digest)
	return s.redirect(c, redirection{digest, catalogue.Canary, func(a catalogue.Alias) catalogue.Alias { return withCanary(a, digest, percent) }})
}

func withLive(a catalogue.Alias, digest string) catalogue.Alias {
	if a.Live = digest; a.Canary == digest {
		return withCanary(a, "", 0)
	}
	return a
}

func withCanary(a catalogue.Alias, digest string, percent float64) catalogue.Alias {
	a.Canary, a.Percent = digest, percent
	return a
}

// A redirection is a change of an alias, and the version that is to have a new
// role by it; "": none.
type redirection struct {
	digest string
	role   catalogue.Role
	change func(catalogue.Alias) catalogue.Alias
}

// redirect changes an alias, and answers with the versions.
func (s *Server) redirect(c *fiber.Ctx, to redirection) error {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	versions, _, err := s.visible(c).Versions(name)
	if err != nil {
		return s.adapterFault(name, err)
	}
	if err := callerOf(c).publish(name); err != nil {
		return err
	}
	audit := auditOf(c)
	for i, v := range versions {
		if v.Digest == "" && catalogue.Holds(v.Dir) {
			if versions[i].Digest, err = s.digestOf(v.Dir); errors.Is(err, memory.ErrFull) {
				return err
			}
		}
		if v.Live {
			audit.replaces(versions[i].Digest)
		}
	}
	audit.becomes(to.digest)
	at := slices.IndexFunc(versions, func(v catalogue.Version) bool { return v.Digest == to.digest && (v.Live || catalogue.Holds(v.Dir)) })
	switch {
	case to.digest == "":
	case at < 0:
		return notFound("version_not_found", "digest", "no version %s of adapter %q is on the disk: GET /v1/adapters/%s/versions lists them", to.digest, name, name)
	case versions[at].Live && to.role == catalogue.Canary:
		return conflict("version_is_live", "version %s of adapter %q is the live one: give another", to.digest, name)
	case versions[at].Live:
		return s.listVersions(c)
	}
	if err := s.redirectable(); err != nil {
		return err
	}
	if err := s.redirectTo(c, name, to, versions, at); err != nil {
		return s.diskFault(err)
	}
	return s.listVersions(c)
}

func (s *Server) redirectTo(c *fiber.Ctx, name string, to redirection, versions []catalogue.Version, at int) error {
	ctx, done := s.attend(c)
	defer done()
	staging, err := newStaging(s.config.Adapters)
	if err != nil {
		return err
	}
	defer s.discard(staging)
	write := func() error {
		alias, err := s.aliasOf(name)
		if err != nil {
			return err
		}
		if to.digest != "" && !catalogue.Holds(versions[at].Dir) {
			return notFound("version_not_found", "digest", "version %s of adapter %q has been removed meanwhile", to.digest, name)
		}
		if alias = to.change(alias); alias.Canary != "" && alias.Canary == alias.Live {
			return conflict("version_is_live", "version %s of adapter %q is the live one: give another", to.digest, name)
		}
		if to.digest == "" && alias == (catalogue.Alias{}) && !exists(s.aliasFile(name)) {
			return nil // there is no canary to end
		}
		return s.setAlias(staging, name, alias)
	}
	if to.digest == "" || versions[at].Entry.State == catalogue.Resident {
		return s.visible(c).Redirect(ctx, name, write)
	}
	folder := versions[at].Dir
	_, err = s.swap(ctx, catalogue.Candidate{
		Name: name, URI: folder, Digest: to.digest, As: to.role,
		Move: func() (string, error) { return folder, write() },
	}, func(string) error { return nil })
	return err
}
