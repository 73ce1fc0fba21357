package keys

import (
	"fmt"
	"strings"
)

// glob is a pattern of adapters' names: * is any text, ? any one character, and
// anything else is itself.
type glob string

// parseGlob refuses what no name can match.
func parseGlob(text string) (glob, error) {
	if text == "" {
		return "", fmt.Errorf("is empty")
	}
	for _, r := range text {
		if !isNameRune(r) && !strings.ContainsRune("@:+/*?", r) {
			return "", fmt.Errorf("%q has %q, which no adapter's name has: * is any text, ? one character, anything else is itself", text, r)
		}
	}
	return glob(text), nil
}

// matches takes time in proportion to the lengths of both: the last * alone is
// ever tried again.
func (g glob) matches(name string) bool {
	at, star, from := 0, -1, 0 // at: in g; star: the last * there; from: what it takes ends here in name
	for i := 0; i < len(name); {
		switch {
		case at < len(g) && g[at] == '*':
			star, from = at, i
			at++
		case at < len(g) && (g[at] == '?' || g[at] == name[i]):
			at++
			i++
		case star >= 0:
			from++
			at, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(string(g[at:]), "*") == ""
}

func anyMatches(globs []glob, name string) bool {
	for _, g := range globs {
		if g.matches(name) {
			return true
		}
	}
	return false
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
}

// isName reports whether s can stand in a log, a label or an adapter's name.
func isName(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !isNameRune(r) }) < 0
}

// Pattern is what matches the names of adapters that a pattern does, which is read as
// those of a key are.
func Pattern(text string) (matches func(name string) bool, err error) {
	g, err := parseGlob(text)
	return g.matches, err
}
