package adapters

import (
	"slices"

	"github.com/peft-serve/peft-serve/models"
)

// Unmatched returns, of the given configuration, a key and its first entry that
// no module of the base answers to, where PEFT would pass it over: of
// exclude_modules and of what the method has like it. Both are empty if there is
// none.
func Unmatched(m models.Model, c *Config) (key, entry string, err error) {
	t, ok := c.Method.(targeted)
	if !ok {
		return "", "", nil
	}
	for _, e := range t.modules().exclude.list {
		if !slices.ContainsFunc(m.Sites(), func(s models.Site) bool { return suffixed(s.Name, e) }) {
			return "exclude_modules", e, nil
		}
	}
	own, ok := c.Method.(interface {
		unmatched(m models.Model) (key, entry string, err error)
	})
	if !ok {
		return "", "", nil
	}
	return own.unmatched(m)
}
