package serve

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
)

// between is a catalogue beside which something else happens to a name: when the
// next version that is to have a role has been found and loaded, and has it not yet.
type between struct {
	Catalogue
	next chan func()
}

func (b *between) happens() {
	select {
	case f := <-b.next:
		f()
	default:
	}
}

func (b *between) Swap(ctx context.Context, candidate catalogue.Candidate) (catalogue.Entry, error) {
	check := candidate.Check
	candidate.Check = func(ctx context.Context, a catalogue.Adapter) error {
		b.happens()
		return check(ctx, a)
	}
	return b.Catalogue.Swap(ctx, candidate)
}

func (b *between) Redirect(ctx context.Context, name string, write func() error) error {
	b.happens()
	return b.Catalogue.Redirect(ctx, name, write)
}

// A change of what answers holds for what is there when it is made, whatever an
// upload, a DELETE or another change has done since its version was found.
func TestChangesBesideEachOther(t *testing.T) {
	const (
		uploaded = -1 // the version that an upload has brought
		none     = -2
	)
	type step func(t *testing.T, s *site, digests []string) int
	remove := func(t *testing.T, s *site, _ []string) int {
		return s.send(t, http.MethodDelete, "/v1/adapters/x", "").status
	}
	upload := func(t *testing.T, s *site, _ []string) int {
		return s.send(t, http.MethodPut, "/v1/adapters/x", versionArchive(t, 3)).status
	}
	rollback := func(at int) step {
		return func(t *testing.T, s *site, digests []string) int {
			return s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+digests[at]+`"}`).status
		}
	}
	canary := func(at int) step {
		return func(t *testing.T, s *site, digests []string) int {
			return s.post(t, "/v1/adapters/x/canary", `{"digest":"`+digests[at]+`","percent":50}`).status
		}
	}
	for name, c := range map[string]struct {
		keep           int
		before         step // of versions 0 and 1, of which 1 is live; nil: nothing
		first, between step
		status, beside int
		live, canary   int // a version's place, or one of the following
	}{
		"rollback beside a DELETE":                   {2, nil, rollback(0), remove, 404, 204, none, none},
		"rollback beside an upload that leaves it":   {2, nil, rollback(0), upload, 200, 200, 0, none},
		"rollback beside an upload that takes it":    {1, nil, rollback(0), upload, 404, 200, uploaded, none},
		"rollback of a canary beside a DELETE":       {2, canary(0), rollback(0), remove, 404, 204, none, none},
		"rollback of a canary beside an upload":      {1, canary(0), rollback(0), upload, 200, 200, 0, none},
		"canary beside a DELETE":                     {2, nil, canary(0), remove, 404, 204, none, none},
		"canary beside an upload that takes it":      {1, nil, canary(0), upload, 404, 200, uploaded, none},
		"canary beside its rollback":                 {2, nil, canary(0), rollback(0), 409, 200, 0, none},
		"rollback beside its canary":                 {2, nil, rollback(0), canary(0), 200, 200, 0, none},
		"upload beside a DELETE":                     {2, nil, upload, remove, 201, 204, uploaded, none},
		"upload beside a rollback":                   {2, nil, upload, rollback(0), 200, 200, uploaded, none},
		"upload beside a canary, which stays":        {2, nil, upload, canary(0), 200, 200, uploaded, 0},
		"rollback of a canary beside its other role": {2, canary(0), rollback(0), canary(0), 200, 200, 0, none},
	} {
		t.Run(name, func(t *testing.T) {
			beside := &between{next: make(chan func(), 1)}
			s := realSiteOf(t, Config{Name: "tiny", KeepVersions: c.keep}, func(_ *catalogue.Options, p *Parts) {
				if p.Catalogue != nil {
					beside.Catalogue, p.Catalogue = p.Catalogue, beside
				}
			})
			digests := []string{s.publishVersion(t, "x", 1, 201), s.publishVersion(t, "x", 2, 200)}
			if c.before != nil {
				require.Equal(t, 200, c.before(t, s, digests))
				_, without := s.sessionsOf(t, "x", digests[0])
				require.NotEmpty(t, without)
			}
			beside.next <- func() { require.Equal(t, c.beside, c.between(t, s, digests)) }
			require.Equal(t, c.status, c.first(t, s, digests))
			require.Empty(t, beside.next, "it has happened between")

			listed := s.get(t, "/v1/adapters/x/versions")
			if c.live == none {
				require.Equal(t, 404, listed.status, listed.body)
				require.Equal(t, 404, s.post(t, "/v1/completions", `{"model":"x","prompt":"a"}`).status)
				digests = digests[:0]
			} else {
				require.Equal(t, 200, listed.status, listed.body)
				live := strings.Trim(member(t, listed.body, "live"), `"`)
				require.Equal(t, c.live, slices.Index(digests, live))
				if c.canary == none {
					answers, _ := s.ask(t, "x", "")
					require.Equal(t, live, answers)
				}
			}
			if c.canary != none {
				require.Equal(t, `"`+digests[c.canary]+`"`, member(t, listed.body, "canary", "digest"))
			} else {
				require.NotContains(t, listed.body, `"canary"`)
			}
			// What is there is a name like any other.
			require.Less(t, upload(t, s, digests), 300)
			require.Equal(t, 204, remove(t, s, digests))
		})
	}
}
