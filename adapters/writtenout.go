package adapters

import (
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models"
)

// WriteOut returns the configuration with target_modules as a list of the
// modules that it adapts on a base, where it says null, all-linear or a regular
// expression: each by as short an end of its name as means no module that is
// not adapted. So the folder means the same to a reader who knows neither
// PEFT's defaults nor its shorthands. BitFit's null, every bias, stays.
func WriteOut(m models.Model, c *Config) (*Config, error) {
	method, ok := c.Method.(targeted)
	if !ok {
		return c, nil
	}
	kinds := []models.SiteKind{models.LinearSite}
	switch c.Type {
	case "LORA":
		kinds = append(kinds, models.EmbeddingSite)
	case "BITFIT":
		if method.modules().include.empty() {
			return c, nil
		}
		kinds = append(kinds, models.NormSite)
	}
	t := *method.modules()
	adapted, err := t.find(m, kinds...)
	if err != nil {
		return nil, err
	}
	out := &Config{members: slices.Clone(c.members)}
	if c.Type == "BEFT" { // which has no such key in PEFT
		out.drop("exclude_modules")
		t.exclude = names{}
	}
	groups := [][]int{adapted}
	if ia3, ok := c.Method.(*ia3); ok { // PEFT wants feedforward_modules to be a part of the list
		if groups, err = ia3.groups(m, c, adapted); err != nil {
			return nil, err
		}
	}
	lists := [2][]string{{}, {}}
	for i, sites := range groups {
		if lists[i], err = t.shortest(m.Sites(), sites); err != nil {
			return nil, err
		}
	}
	if err := out.set("target_modules", slices.Concat(lists[0], lists[1])); err != nil {
		return nil, err
	}
	if c.Type == "IA3" {
		if err := out.set("feedforward_modules", lists[1]); err != nil {
			return nil, err
		}
	}
	return ParseConfig(out.JSON())
}

// shortest names adapted sites by ends of their names, each the shortest that
// no other module answers to which the rest of the configuration leaves in.
func (t *targets) shortest(sites models.Sites, adapted []int) ([]string, error) {
	var others []string
	for i, s := range sites {
		if s.Kind == models.SublayerSite || slices.Contains(adapted, i) {
			continue
		}
		in, err := t.keeps(s.Name, true)
		if err != nil {
			return nil, err
		}
		if in {
			others = append(others, s.Name)
		}
	}
	list := []string{}
	for _, i := range adapted {
		parts := strings.Split(sites[i].Name, ".")
		for n := 1; n <= len(parts); n++ {
			end := strings.Join(parts[len(parts)-n:], ".")
			_, number := strconv.Atoi(parts[len(parts)-n]) // "0.mlp" reads worse than "layers.0.mlp"
			if n < len(parts) && (number == nil || slices.ContainsFunc(others, func(o string) bool { return suffixed(o, end) })) {
				continue
			}
			if !slices.Contains(list, end) {
				list = append(list, end)
			}
			break
		}
	}
	return list, nil
}

// groups parts adapted modules into those whose outputs are scaled and those
// whose inputs are.
func (m *ia3) groups(base models.Model, c *Config, adapted []int) ([][]int, error) {
	groups := make([][]int, 2)
	b := &Builder{Model: base, Config: c, Sites: base.Sites()}
	for _, site := range adapted {
		input, err := m.onInput(b, b.Sites[site].Name)
		if err != nil {
			return nil, err
		}
		if input {
			groups[1] = append(groups[1], site)
		} else {
			groups[0] = append(groups[0], site)
		}
	}
	return groups, nil
}
