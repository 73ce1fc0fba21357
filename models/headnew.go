package models

import (
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// WithNewHead is WithHead whose head is the model's own, with weights that can be
// trained: the base's where it has one for as many classes, others that begin as draw
// sets them, by the module's name, with biases of zero.
func WithNewHead(m Model, classes Classes, draw func(module string, weights []float32)) (Model, error) {
	under, err := WithHead(m, classes.Task)
	if err != nil {
		return nil, err
	}
	config := *m.Config()
	config.heads, config.Classes = maps.Clone(config.heads), &classes
	h := *config.heads[classes.Task]
	if h.Classes == nil || len(h.Classes.Names) != len(classes.Names) {
		h.sites = slices.Clone(h.sites)
		for i, s := range h.sites {
			switch {
			case h.Classes == nil && !s.Open && !s.Classes: // the base has it
				continue
			case s.Kind == NormSite:
				s.Norm = newNorm(s.Norm)
				h.norm = s.Norm
			case s.Linear == h.dense:
				s.Linear = newLinear(s, &config, len(classes.Names), draw)
				h.dense = s.Linear
			default:
				s.Linear = newLinear(s, &config, len(classes.Names), draw)
				h.out = s.Linear
			}
			s.Open = false
			h.sites[i] = s
		}
	}
	h.Classes = &classes
	config.heads[classes.Task] = &h
	return &headed{m, slices.Concat(under.Sites()[:config.trunk], h.sites), &config}, nil
}

// newNorm is a norm in the place of another, as it begins.
func newNorm(of *Norm) *Norm {
	n := headNorm{epsilon: of.Eps, biased: len(of.Bias) > 0}
	return n.fresh(of.Site, len(of.Weight))
}

// newLinear is a linear for a site of a head; of a shape, its shape.
func newLinear(s Site, c *Config, classes int, draw func(module string, weights []float32)) *Linear {
	rows := c.Hidden
	if s.Classes {
		rows = classes
	}
	l := &Linear{Site: s.Linear.Site, W: kernels.Weight{Rows: rows, Cols: c.Hidden}}
	if s.Biased {
		l.Bias = make([]float32, rows)
	}
	if !c.Shape {
		w := kernels.NewMatrix(rows, c.Hidden)
		draw(s.Name, w.Data)
		l.W = kernels.WeightOf(w)
	}
	return l
}

// HeadClass is transformers' class of a base with the head of a task.
func (c *Config) HeadClass(t Task) string { return c.Architecture.heads[t].class }

// HeadFrom is the number of the first site of the head of a model of WithHead; of
// another, that of all its sites.
func HeadFrom(m Model) int {
	if h, ok := m.(*headed); ok {
		return h.config.trunk
	}
	return len(m.Sites())
}
