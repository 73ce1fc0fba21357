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
// PEFT's defaults nor its shorthands. A null that means every module stays.
func WriteOut(m models.Model, c *Config) (*Config, error) {
	method, ok := c.Method.(targeted)
	if !ok {
		return c, nil
	}
	t := method.modules()
	if t.include.empty() && t.family == "" || t.include.expr == noModules {
		return c, nil
	}
	adapted, err := t.find(m)
	if err != nil {
		return nil, err
	}
	out := &Config{members: slices.Clone(c.members)}
	if own, ok := c.Method.(writesOut); ok {
		err = own.writeOut(out, m, adapted)
	} else {
		err = t.writeOut(out, m, adapted)
	}
	if err != nil {
		return nil, err
	}
	written, err := ParseConfig(out.JSON())
	if err == nil {
		written.Classes = c.Classes
	}
	return written, err
}

// targeted is a method that adapts the modules that target_modules and its
// like choose.
type targeted interface{ modules() *targets }

// writesOut is a targeted method with more to write out than target_modules.
type writesOut interface {
	writeOut(out *Config, m models.Model, adapted []int) error
}

// writeOut sets target_modules to what names the adapted sites.
func (t *targets) writeOut(out *Config, m models.Model, adapted []int) error {
	short := *t
	if t.ourExclude {
		out.drop("exclude_modules")
		short.exclude = names{}
	}
	list, err := short.shortest(m.Sites(), adapted)
	if err != nil {
		return err
	}
	return out.set("target_modules", list)
}

// listed is target_modules as names for what t chooses in its layers, for PEFT takes no
// layers_to_transform beside a text.
func (t *targets) listed(m models.Model) ([]string, error) {
	all, err := t.find(m)
	if err != nil {
		return nil, err
	}
	sites := m.Sites()
	var adapted []int
	for _, i := range all {
		in, err := t.inLayers(sites[i].Name)
		if err != nil {
			return nil, err
		}
		if in {
			adapted = append(adapted, i)
		}
	}
	return t.shortest(sites, adapted)
}

// shortest names adapted sites by ends of their names, each the shortest that
// no other module answers to which the rest of the configuration leaves in.
func (t *targets) shortest(sites models.Sites, adapted []int) ([]string, error) {
	var others []string
	for i, s := range sites {
		if s.Kind == models.SublayerSite || s.Kind == models.AbsentSite || slices.Contains(adapted, i) {
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
