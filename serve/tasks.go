package serve

import (
	"errors"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// POST /v1/classify answers by several adapters, each for itself: by those of a list,
// ?adapter=a,b,c, of several parameters, and those whose names a pattern matches,
// ?adapter=sst-*. A list of names with weights is one combination, as everywhere.

// tasksField is where they are named.
const tasksField = "the query parameter adapter"

// isPattern reports whether a text is no adapter's name but a pattern of some.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?") }

// tasksOf are those that are to answer, in the order in which they are named, those of
// a pattern by name, each once; nil: the request names one at most.
func (s *Server) tasksOf(c *fiber.Ctx, body naming) ([]naming, error) {
	var values []string
	for _, v := range c.Context().QueryArgs().PeekMulti("adapter") {
		if value := string(v); value != "" && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	if len(values) == 0 || len(values) == 1 && !isPattern(values[0]) && (!strings.Contains(values[0], ",") || isCombination(values[0])) {
		return nil, nil
	}
	if err := errors.Join(knownQuery(c), lacks(c, keys.Use)); err != nil {
		return nil, err
	}
	for _, other := range []naming{body, {where: "the header X-Adapter", name: c.Get("X-Adapter")}} {
		if other.name != "" {
			return nil, invalid(other.where, "%s names several adapters and %s names %q: name them in one place", tasksField, other.where, other.name)
		}
	}
	t := taskList{server: s, known: s.visible(c), who: callerOf(c), named: map[string]bool{}}
	all, err := t.of(values)
	accountOf(c).adapter = strings.Join(t.given, ",")
	return all, err
}

// isCombination reports whether a text names a combination by names and weights.
func isCombination(text string) bool {
	for part := range strings.SplitSeq(text, ",") {
		if _, ok := parseWeighted(strings.TrimSpace(part)); !ok {
			return false
		}
	}
	return true
}

// taskList gathers tasks.
type taskList struct {
	server *Server
	known  Catalogue // nil: there are no adapters
	who    *caller
	all    []naming
	named  map[string]bool
	given  []string // the patterns, and those of the other names that there are, as they are given
}

// of are those that parameters name.
func (t *taskList) of(values []string) ([]naming, error) {
	for _, value := range values {
		if isCombination(value) {
			if err := t.one(value); err != nil {
				return nil, err
			}
			continue
		}
		for name := range strings.SplitSeq(value, ",") {
			if err := t.element(strings.TrimSpace(name), value); err != nil {
				return nil, err
			}
		}
	}
	return t.all, nil
}

// has reports whether there is an adapter of that name.
func (t *taskList) has(name string) bool {
	_, there := t.find(name)
	return there
}

// find looks an adapter up.
func (t *taskList) find(name string) (e catalogue.Entry, there bool) {
	if t.known == nil {
		return e, false
	}
	e, err := t.known.Lookup(name)
	return e, err == nil
}

// element adds what one element of a list names.
func (t *taskList) element(name, list string) error {
	if name == "" {
		return invalid("adapter", "%s is %q, which has an empty name: leave the comma out", tasksField, list)
	}
	if _, ok := parseWeighted(name); ok && list != name && !t.has(name) {
		return invalid("adapter", "%s is %q, in which some names have weights and some have none: give each combination a parameter of its own", tasksField, list)
	}
	if !isPattern(name) {
		return t.one(name)
	}
	matches, err := keys.Pattern(name)
	if err != nil {
		return invalid("adapter", "%s: %s", tasksField, err)
	}
	before := len(t.named)
	if t.known != nil {
		found := t.known.Match(func(name string) bool { return matches(name) && t.who.uses(name) })
		t.all = slices.Grow(t.all, min(len(found), maxSequences))
		for _, m := range found {
			if err := t.add(m.Name, m.Resident); err != nil {
				return err
			}
		}
	}
	if len(t.named) == before && !slices.ContainsFunc(t.all, func(n naming) bool { return matches(n.name) }) {
		return notFound("model_not_found", "adapter", "%s: no adapter's name matches %q: GET /v1/models lists them", tasksField, name)
	}
	t.given = append(t.given, name)
	return nil
}

// one adds what is named by itself.
func (t *taskList) one(name string) error {
	if t.named[name] {
		return nil
	}
	e, found := t.find(name)
	if found || t.there(name) {
		t.given = append(t.given, name)
	}
	return t.add(name, e.State == catalogue.Resident)
}

// there reports whether there is all that a name which is no adapter's names: the base,
// or the adapters of a combination.
func (t *taskList) there(name string) bool {
	if name == t.server.config.Name {
		return true
	}
	for text := range strings.SplitSeq(name, ",") {
		if part, ok := parseWeighted(strings.TrimSpace(text)); !ok || !t.has(part.Name) {
			return false
		}
	}
	return true
}

// add adds a task, whose adapter was in memory a moment ago, or not.
func (t *taskList) add(name string, resident bool) error {
	if t.named[name] {
		return nil
	}
	t.named[name] = true
	if t.all = append(t.all, naming{where: tasksField, name: name, base: name == t.server.config.Name, resident: resident}); len(t.all) > maxSequences {
		return invalid("adapter", "%s names more than %d adapters", tasksField, maxSequences)
	}
	return nil
}

// uses reports whether a caller may use an adapter of that name.
func (w *caller) uses(name string) bool { return w.keys == nil || w.key.Uses(name) }

// taskLease is on what answers a task; not ready, it is being loaded.
func (s *Server) taskLease(c *fiber.Ctx, n naming) (*catalogue.Lease, error) {
	if n.base {
		return nil, s.unambiguous(s.visible(c), n)
	}
	if s.catalogue == nil {
		return nil, unknownAdapter("adapter", n.name)
	}
	lease, err := s.lease(s.visible(c), n, sessionOf(c))
	if err == nil {
		err = lease.Err()
	}
	if err != nil {
		lease.Release()
		return nil, leaseFault(n, err)
	}
	return lease, nil
}

// leaseFault is why nothing can answer by what n names.
func leaseFault(n naming, err error) error {
	name := n.name
	var part *catalogue.AdapterError // of a combination, say
	if errors.As(err, &part) {
		name = part.Name
	}
	switch {
	case isUnknown(err):
		return unknownAdapter(n.where, name)
	case errors.Is(err, adapters.ErrCompose):
		return invalid(n.where, "%s: %s", n.where, err)
	}
	return loadFault(name, err)
}

// refusePattern answers where one adapter alone can be named.
func refusePattern(n naming) error {
	return invalid(n.where, "%s is %q: an adapter is named here, and no pattern of several, which POST %s?adapter= alone answers", n.where, n.name, classifyPath)
}
