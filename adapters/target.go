package adapters

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models"
)

// names is target_modules or exclude_modules: a list of module names, each
// matching itself and what ends in it after a dot, or one expression that
// must match a whole name (PEFT, tuners_utils.check_target_module_exists).
type names struct {
	given bool // it is there and not null
	list  []string
	expr  string
	re    expression
}

func (n names) empty() bool { return len(n.list) == 0 && n.expr == "" }

func (n names) allLinear() bool { return strings.EqualFold(n.expr, allLinear) }

// allLinear is target_modules of an adapter of every linear but the head.
const allLinear = "all-linear"

// noModules is target_modules of an adapter that adapts none: all it has is in
// modules_to_save, as a head is (PEFT, DUMMY_TARGET_MODULES).
const noModules = "dummy-target-modules"

// match reports whether n matches a module; used, where not nil, collects the
// entries of the list that did.
func (n names) match(module string, used map[string]bool) (bool, error) {
	if n.re.re != nil {
		return n.re.matches(module)
	}
	found := false
	for _, t := range n.list {
		if suffixed(module, t) {
			found = true
			if used == nil {
				break
			}
			used[t] = true
		}
	}
	return found, nil
}

// suffixed reports whether name is t or ends in t after a dot.
func suffixed(name, t string) bool {
	return name == t || strings.HasSuffix(name, "."+t)
}

// targets is what a configuration says of the modules to adapt.
type targets struct {
	include, exclude names
	layers           []int             // layers_to_transform; nil: all
	hasLayers        bool              // layers_to_transform is given
	layerPatterns    []expression      // layers_pattern
	saved            []string          // modules_to_save: never adapted
	savedPatterns    []expression      // the same as PEFT matches them
	family           string            // whose defaults of PEFT's hold where include is null; empty: it means every module
	kinds            []models.SiteKind // of what can be adapted
	ourExclude       bool              // PEFT has no exclude_modules here: written out, it goes
}

// targets reads the keys that say what is adapted of the sites of some kinds.
// family is the peft_type whose default modules are PEFT's for this one too.
func (s *settings) targets(family string, kinds ...models.SiteKind) targets {
	t := targets{
		include: s.names("target_modules"), exclude: s.names("exclude_modules"),
		saved: s.list("modules_to_save"), family: family, kinds: kinds,
	}
	if t.include.given && t.include.empty() {
		s.fault(ErrConfig, "target_modules is %s, which names no module: name some, or write null for PEFT's own choice", s.raw("target_modules"))
	}
	if t.exclude.allLinear() {
		s.fault(ErrConfig, "exclude_modules is %q", t.exclude.expr)
	}
	if raw := s.raw("layers_to_transform"); raw != nil {
		if string(raw)[0] == '[' {
			t.layers = s.integers("layers_to_transform")
			t.hasLayers = len(t.layers) > 0
		} else {
			n := -1
			s.read("layers_to_transform", &n, "an integer or a list of them")
			t.layers, t.hasLayers = []int{n}, true
		}
	}
	var layers []string
	if raw := s.raw("layers_pattern"); raw != nil {
		if string(raw)[0] == '[' {
			layers = s.list("layers_pattern")
		} else if one := s.text("layers_pattern", ""); one != "" {
			layers = []string{one}
		}
	}
	t.layerPatterns = s.expressions("layers_pattern", layers, s.left.compileLayer)
	t.savedPatterns = s.expressions("modules_to_save", t.saved, s.left.compileSaved)
	if t.include.expr != "" && (t.hasLayers || len(t.layerPatterns) > 0) {
		s.fault(ErrConfig, "layers_to_transform and layers_pattern do not go with target_modules as a regular expression")
	}
	if len(t.layerPatterns) > 0 && s.raw("layers_to_transform") == nil {
		s.fault(ErrConfig, "layers_pattern is there without layers_to_transform")
	}
	return t
}

// anyLayer finds the first number between dots, PEFT's expression without a
// layers_pattern.
var anyLayer = regexp.MustCompile(`^.*?\.[^.]*\.(\d+)\.`)

// inLayers reports whether a module lies in one of the layers.
func (t *targets) inLayers(module string) (bool, error) {
	if !t.hasLayers {
		return true, nil
	}
	index := ""
	if len(t.layerPatterns) == 0 {
		if m := anyLayer.FindStringSubmatch(module); m != nil {
			index = m[1]
		}
	}
	for _, p := range t.layerPatterns {
		m, err := p.find(module)
		if err != nil {
			return false, err
		}
		if m != nil {
			index = m.GroupByName("index").String()
			break
		}
	}
	n, err := strconv.Atoi(index)
	return err == nil && slices.Contains(t.layers, n), nil
}

// find returns the sites that are to be adapted. An entry of the list that no
// module bears, and an outcome without a site, are errors.
func (t *targets) find(m models.Model) ([]int, error) {
	if err := t.layersOf(m); err != nil {
		return nil, err
	}
	if t.include.expr == noModules {
		if len(t.saved) == 0 {
			return nil, fmt.Errorf("%w: target_modules is %s, and modules_to_save names no module either", ErrTarget, t.include)
		}
		return nil, nil
	}
	include := t.include
	if include.empty() {
		list, ok := m.Config().Architecture.Targets[t.family]
		if !ok {
			return nil, fmt.Errorf("%w: target_modules is null, and there is no default for %s", ErrTarget, m.Config().Architecture)
		}
		include = names{list: list}
	}
	var found []int
	used := map[string]bool{}
	for i, s := range m.Sites() {
		if !slices.Contains(t.kinds, s.Kind) {
			continue
		}
		var ok bool
		var err error
		if include.allLinear() {
			ok = s.Kind == models.LinearSite && !s.Head && s.Convolution == 0
		} else {
			ok, err = include.match(s.Name, used)
		}
		if err == nil && ok {
			ok, err = t.keeps(s.Name, include.list != nil)
		}
		ok = ok && !s.Open
		if err != nil {
			return nil, err
		}
		if ok && s.Convolution > 0 && t.family != "" { // but for its bias
			return nil, fmt.Errorf("%w: %q is a convolution, on which adapters are not implemented", ErrTarget, s.Name)
		}
		if ok {
			found = append(found, i)
		}
	}
	for _, name := range include.list {
		if !used[name] {
			return nil, fmt.Errorf("%w: target_modules names %q, which the base has not", ErrTarget, name)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: target_modules (%s) matches no module of the base", ErrTarget, include)
	}
	return found, nil
}

// place puts the modules to save in their places, and returns the sites that the
// targets choose. A module cannot be both.
func (b *Builder) place(t *targets, tie bool) (sites []int, adapted map[int]bool, err error) {
	if sites, err = t.find(b.Model); err != nil {
		return nil, nil, err
	}
	if err := b.save(t.saved, tie); err != nil {
		return nil, nil, err
	}
	adapted = map[int]bool{}
	for _, site := range sites {
		if b.saved(site) {
			return nil, nil, fmt.Errorf("%w: %q is both in target_modules and in modules_to_save", ErrTarget, b.Sites[site].Name)
		}
		adapted[site] = true
	}
	return sites, adapted, nil
}

// layersOf refuses a layer that the base has not.
func (t *targets) layersOf(m models.Model) error {
	for _, n := range t.layers {
		if layers := m.Config().Layers; n < 0 || n >= layers {
			return fmt.Errorf("%w: layers_to_transform names layer %d, the base has %d", ErrTarget, n, layers)
		}
	}
	return nil
}

// keeps reports whether a module that target_modules matches is adapted.
func (t *targets) keeps(module string, list bool) (bool, error) {
	excluded, err := t.exclude.match(module, nil)
	if err != nil || excluded {
		return false, err
	}
	for _, p := range t.savedPatterns {
		if saved, err := p.matches(module); err != nil || saved {
			return false, err
		}
	}
	if !list {
		return true, nil
	}
	return t.inLayers(module)
}

func (n names) String() string {
	if n.expr != "" {
		return fmt.Sprintf("%q", n.expr)
	}
	return fmt.Sprintf("%q", n.list)
}
