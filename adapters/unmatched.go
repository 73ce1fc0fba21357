package adapters

import (
	"slices"

	"github.com/peft-serve/peft-serve/models"
)

// targeted is a method that adapts the modules that target_modules and its
// like choose.
type targeted interface{ modules() *targets }

// Unmatched returns, of the given configuration, a key and its first entry that
// no module of the base answers to, where PEFT would pass it over: of
// exclude_modules, rank_pattern and alpha_pattern. Both are empty if there is
// none.
func Unmatched(m models.Model, c *Config) (key, entry string, err error) {
	sites := m.Sites()
	if t, ok := c.Method.(targeted); ok {
		for _, e := range t.modules().exclude.list {
			if !slices.ContainsFunc(sites, func(s models.Site) bool { return suffixed(s.Name, e) }) {
				return "exclude_modules", e, nil
			}
		}
	}
	l, ok := c.Method.(*lora)
	if !ok {
		return "", "", nil
	}
	adapted, err := l.targets.find(m, models.LinearSite, models.EmbeddingSite)
	if err != nil {
		return "", "", err
	}
	var modules []string
	for _, site := range adapted {
		modules = append(modules, sites[site].Name)
	}
	return l.idlePattern(modules, nil, nil)
}
