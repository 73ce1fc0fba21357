package serve

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// Limits are what a server lets requests have. They may change while it runs.
// Zero fields have the defaults told with them.
type Limits struct {
	BodyLimit   int           // bytes of a JSON body; 8 MiB
	UploadLimit int64         // bytes of an adapter's archive, and of its files; 4 GiB
	Timeout     time.Duration // how long a request may take, waiting included; without limit

	MaxTokensDefault int // tokens of an answer where the request does not say; the dialect's own
	MaxTokensLimit   int // the most that a request may ask for; what the context holds
}

// validate reports what is below 0.
func (l Limits) validate() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"BodyLimit", int64(l.BodyLimit)}, {"UploadLimit", l.UploadLimit}, {"Timeout", int64(l.Timeout)},
		{"MaxTokensDefault", int64(l.MaxTokensDefault)}, {"MaxTokensLimit", int64(l.MaxTokensLimit)},
	} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("%s is %d, below 0", f.name, f.value))
		}
	}
	return errors.Join(faults...)
}

func (l Limits) withDefaults() Limits {
	if l.BodyLimit == 0 {
		l.BodyLimit = 8 << 20
	}
	if l.UploadLimit == 0 {
		l.UploadLimit = 4 << 30
	}
	return l
}

// Quota tells whose adapter has that name, and how many bytes all of theirs may
// take in memory, by the keys that hold now: catalogue.Options.Owner. A nil Server
// has no keys yet.
func (s *Server) Quota(name string) (owner string, bytes int) {
	if s == nil {
		return "", 0
	}
	return s.settings.Load().keys.Quota(name)
}

// changes says in words how other differs.
func (l Limits) changes(other Limits) string {
	var words []string
	add := func(name string, before, after any) {
		if before != after {
			words = append(words, fmt.Sprintf("%s %v → %v", name, before, after))
		}
	}
	add("body-limit", l.BodyLimit, other.BodyLimit)
	add("upload-limit", l.UploadLimit, other.UploadLimit)
	add("request-timeout", l.Timeout, other.Timeout)
	add("max-tokens-default", l.MaxTokensDefault, other.MaxTokensDefault)
	add("max-tokens-limit", l.MaxTokensLimit, other.MaxTokensLimit)
	return strings.Join(words, "; ")
}

// settings are what may change while the server runs, as a whole.
type settings struct {
	limits  Limits
	keys    *keys.Set // nil: the server is open
	tenants map[string]*runtime.Tenant
}

func newSettings(set *keys.Set, limits Limits) *settings {
	s := &settings{limits: limits.withDefaults(), keys: set, tenants: map[string]*runtime.Tenant{}}
	if set != nil {
		for _, t := range set.Tenants() {
			s.tenants[t.Name] = &runtime.Tenant{Name: t.Name, Weight: t.Weight, Running: t.Limits.Running, Waiting: t.Limits.Waiting}
		}
	}
	return s
}

// Reload has other keys and limits hold for the requests that come from now on,
// and says in words what changed; empty: nothing. Whether there are keys at all
// does not change.
func (s *Server) Reload(set *keys.Set, limits Limits) (changes string, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	before, after := s.settings.Load(), newSettings(set, limits)
	if (before.keys == nil) != (set == nil) {
		return "", fmt.Errorf("a server with keys stays one, and one without too: restart it")
	}
	if err := limits.validate(); err != nil {
		return "", err
	}
	var words []string
	if set != nil {
		if w := before.keys.Changes(set); w != "" {
			words = append(words, "keys: "+w)
		}
	}
	if w := before.limits.changes(after.limits); w != "" {
		words = append(words, w)
	}
	s.settings.Store(after)
	s.loras.keep(set)
	return strings.Join(words, "; "), nil
}

// counts are how many there are of something, by tenant.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

// enter counts one more, unless there are most already; 0: any number.
func (c *counts) enter(tenant string, most int) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if most > 0 && c.of[tenant] >= most {
		return nil, false
	}
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[tenant]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.of[tenant]--; c.of[tenant] == 0 {
			delete(c.of, tenant)
		}
	}, true
}
