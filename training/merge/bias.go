package merge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// biases makes room for the biases that the adapter adds where the base has
// none: the configuration's switch is set, and the other modules that it
// switches get zeros.
func (j *job) biases() error {
	architecture := j.model.Config().Architecture
	for _, name := range slices.Clone(j.order) {
		c := j.changes[name]
		s := j.model.Sites()[c.Site]
		if c.Suffix != ".bias" || s.Kind != models.LinearSite || len(s.Linear.Bias) > 0 {
			continue
		}
		key := ""
		for k, modules := range architecture.Biases {
			if slices.Contains(modules, s.Module()) {
				key = k
			}
		}
		if key == "" || s.Head {
			return fmt.Errorf("%w: the adapter adds one at %s, and transformers' %s has none there", ErrBias, s.Name, architecture)
		}
	}
	if j.source.GGUF != nil && strings.HasSuffix(j.Output, ".gguf") {
		return nil // a file's biases are each for themselves
	}
	for key, modules := range architecture.Biases {
		if j.biased(modules) {
			j.config[key] = true
			j.fillGroup(modules)
		}
	}
	return nil
}

// biased reports whether one of the modules has a bias or gets one.
func (j *job) biased(modules []string) bool {
	return slices.ContainsFunc(j.model.Sites(), func(s models.Site) bool {
		return s.Kind == models.LinearSite && slices.Contains(modules, s.Module()) && (len(s.Linear.Bias) > 0 || j.changes[s.Name+".bias"] != nil)
	})
}

// fillGroup adds zero biases at modules that have none.
func (j *job) fillGroup(modules []string) {
	for site, s := range j.model.Sites() {
		if s.Kind != models.LinearSite || !slices.Contains(modules, s.Module()) || len(s.Linear.Bias) > 0 || strings.HasSuffix(s.Name, "lm_head") {
			continue
		}
		if _, ok := j.changes[s.Name+".bias"]; !ok {
			j.add(adapters.Merged{Site: site, Suffix: ".bias", Rows: 1, Cols: s.Linear.W.Rows, Row: func(dst []float64, _ int) { clear(dst) }})
		}
	}
}
