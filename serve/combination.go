package serve

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/catalogue"
)

// A request names a combination of adapters by their names and weights,
// "a:0.7,b:0.3", wherever it can name one adapter, or in a field that its dialect
// has for it. A text without a comma that is the name of an adapter is that
// adapter, whatever colon is in it.

// weighted is an adapter's name and a weight.
var weighted = regexp.MustCompile(`^(.+):([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$`)

// parseWeighted reads "a:0.7"; false: it is something else.
func parseWeighted(text string) (p catalogue.Part, ok bool) {
	m := weighted.FindStringSubmatch(text)
	if m == nil {
		return p, false
	}
	weight, _ := strconv.ParseFloat(m[2], 64) // beyond the numbers: an infinity, which is refused
	return catalogue.Part{Name: m[1], Weight: weight}, true
}

// combination reads the adapters that a text names, "a:0.7,b:0.3".
func (s *Server) combination(known Catalogue, n naming) (parts []catalogue.Part, err error) {
	if count := strings.Count(n.name, ",") + 1; count > catalogue.MaxParts {
		return nil, invalid(n.where, "%s names a combination of %d adapters: name at most %d", n.where, count, catalogue.MaxParts)
	}
	for text := range strings.SplitSeq(n.name, ",") {
		text = strings.TrimSpace(text)
		part, ok := parseWeighted(text)
		if !ok {
			return nil, invalid(n.where, "%s names a combination, in which %q has no weight: write NAME:WEIGHT for each, as in a:0.7,b:0.3", n.where, text)
		}
		if _, err := known.Lookup(text); err == nil {
			return nil, invalid(n.where, "%s: %q is the name of an adapter, and %q with a weight: write %s:1 for the first", n.where, text, part.Name, text)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// lease is on what a naming names: an adapter, or a combination, of those known,
// for a session.
func (s *Server) lease(known Catalogue, n naming, session string) (*catalogue.Lease, error) {
	parts := n.parts
	switch {
	case parts != nil:
	case strings.Contains(n.name, ","):
		var err error
		if parts, err = s.combination(known, n); err != nil {
			return nil, err
		}
	default:
		lease, err := known.Acquire(n.name, session)
		if err == nil || !isUnknown(err) {
			return lease, err
		}
		part, ok := parseWeighted(n.name)
		if !ok {
			return lease, err
		}
		parts = []catalogue.Part{part}
	}
	for _, p := range parts {
		if p.Name == s.config.Name {
			return nil, invalid(n.where, "%s: %q is the base, to which a combination adds: name adapters alone", n.where, p.Name)
		}
	}
	return known.Compose(parts, session)
}

// mergedAdapters is LoRAX's field for a combination. Its "linear" adds up what
// the adapters add, each times its weight; there A and B are added up by
// themselves, which is something else unless the adapters are alike.
type mergedAdapters struct {
	IDs      []string  `json:"ids"`
	Weights  []float64 `json:"weights"`
	Strategy *string   `json:"merge_strategy"`
	Density  *float64  `json:"density"`              // of the other strategies
	Majority *string   `json:"majority_sign_method"` // likewise
}

const mergedField = "parameters.merged_adapters"

// naming returns what m, which may be nil, names. Without weights each is 1, as
// in LoRAX.
func (m *mergedAdapters) naming() (naming, error) {
	if m == nil {
		return naming{}, nil
	}
	bad := func(field, format string, args ...any) (naming, error) {
		field = mergedField + "." + field
		return naming{}, invalid(field, field+" "+format, args...)
	}
	switch strategy := or(m.Strategy, "linear"); {
	case strategy == "ties" || strategy == "dare_linear" || strategy == "dare_ties":
		return bad("merge_strategy", "is %q, which is not implemented: make one adapter of them by PEFT's add_weighted_adapter and upload that, or send linear", strategy)
	case strategy != "linear":
		return bad("merge_strategy", "is %q: send linear", strategy)
	case len(m.IDs) == 0:
		return bad("ids", "is missing: give the names of the adapters")
	case len(m.Weights) > 0 && len(m.Weights) != len(m.IDs):
		return bad("weights", "has %d numbers for %d ids: give one for each", len(m.Weights), len(m.IDs))
	case m.Density != nil && !(*m.Density >= 0 && *m.Density <= 1):
		return bad("density", "is %g, outside 0 to 1", *m.Density)
	}
	if method := or(m.Majority, "total"); method != "total" && method != "frequency" {
		return bad("majority_sign_method", "is %q: send total or frequency, or leave it out", method)
	}
	n := naming{where: mergedField}
	for i, id := range m.IDs {
		p := catalogue.Part{Name: id, Weight: 1}
		if len(m.Weights) > 0 {
			p.Weight = m.Weights[i]
		}
		n.parts = append(n.parts, p)
	}
	n.name = catalogue.CombinationName(n.parts)
	return n, nil
}
