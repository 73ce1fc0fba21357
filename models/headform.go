package models

import (
	"fmt"
	"strconv"

	"github.com/peft-serve/peft-serve/kernels"
)

// HeadForm is what a head of AdapterHub's consists of (heads/base.py,
// PredictionHead.build), where it is none that transformers' class of the base has:
// linears of the hidden size with an activation after each, and one that makes the
// scores, on the row that a head of the task reads.
type HeadForm struct {
	Layers     int    `json:"layers"`
	Activation string `json:"activation_function,omitempty"` // empty: none
	Pooler     bool   `json:"use_pooler,omitempty"`          // the row is what the base's pooler makes of the first
	Bias       bool   `json:"bias"`                          // of the last linear; the others have one
}

// maxHeadLayers bounds the linears of a head.
const maxHeadLayers = 16

// formModule is what the modules of a HeadForm are called, before their numbers.
const formModule = "classifier"

// formKey is a form for a task.
type formKey struct {
	task Task
	form HeadForm
}

// act is the activation between the linears.
func (f HeadForm) act() (kernels.Activation, bool) {
	if f.Activation == "" {
		return kernels.Identity, true
	}
	return kernels.ActivationByName(f.Activation)
}

// Check refuses a form that is not implemented.
func (f HeadForm) Check() error {
	if f.Layers < 1 || f.Layers > maxHeadLayers {
		return fmt.Errorf("a head has %d layers, outside 1 to %d", f.Layers, maxHeadLayers)
	}
	if _, ok := f.act(); !ok {
		return fmt.Errorf("activation_function %q of a head is not implemented", f.Activation)
	}
	return nil
}

// Numbers are the places of the linears in AdapterHub's sequence of a head, which has a
// dropout before each of them and the activation behind.
func (f HeadForm) Numbers() (places []int) {
	step := 2
	if f.Activation != "" {
		step++
	}
	for i := range f.Layers {
		places = append(places, 1+step*i)
	}
	return places
}

// Modules are the names of the linears.
func (f HeadForm) Modules() (names []string) {
	for _, n := range f.Numbers() {
		names = append(names, formModule+"."+strconv.Itoa(n))
	}
	return names
}

// HeadModules are the modules of transformers' class of the base for a task, in order,
// that compute what a form does; nil: none do.
func HeadModules(m Model, t Task, f HeadForm) []string {
	c := m.Config()
	form, ok := c.Architecture.heads[t]
	if !ok || c.heads[t] == nil || f.Bias != (form.bias == with) {
		return nil
	}
	act, _ := f.act()
	switch {
	case form.norm != nil:
	case form.dense != "":
		if f.Layers == 2 && !f.Pooler && act == form.act {
			return []string{form.dense, form.out}
		}
	case f.Layers == 1 && f.Pooler == form.pooled:
		return []string{form.out}
	case f.Layers == 2 && !f.Pooler && form.pooled && act == kernels.Tanh:
		return []string{m.Sites()[c.pooler.Site].Name, form.out}
	}
	return nil
}

// HeadOf is the head under which classes are told apart: that of their task, or of
// their form.
func (c *Config) HeadOf(classes *Classes) (*Head, error) {
	if classes.Form == nil {
		return c.Head(classes.Task)
	}
	f := *classes.Form
	if _, ok := c.Architecture.heads[classes.Task]; !ok {
		return nil, c.Architecture.Check(classes.Task)
	}
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	if f.Pooler && (c.pooler == nil || classes.Task != Classify) {
		return nil, fmt.Errorf("%w: a head with use_pooler stands on a pooler, and the base has none for that task", ErrTask)
	}
	key := formKey{classes.Task, f}
	if h, ok := c.forms.Load(key); ok {
		return h.(*Head), nil
	}
	made, _ := c.forms.LoadOrStore(key, c.formed(key)) // one for all: rows that go through it are taken together
	return made.(*Head), nil
}

// formed lays a head out.
func (c *Config) formed(key formKey) *Head {
	f := key.form
	act, _ := f.act()
	h := &Head{Task: key.task, config: c, last: c.Causal, act: act}
	if f.Pooler {
		h.pooler = c.pooler
	}
	modules := f.Modules()
	for i, name := range modules {
		last := i == len(modules)-1
		l := &Linear{Site: c.trunk + i, W: kernels.Weight{Rows: c.Hidden, Cols: c.Hidden}}
		if last {
			l.W.Rows, h.out = 0, l
		} else {
			h.deep = append(h.deep, l)
		}
		h.sites = append(h.sites, Site{Name: name, Kind: LinearSite, Layer: -1, Linear: l, Classes: last, Open: true, Biased: !last || f.Bias})
	}
	return h
}

// WithHeadOf is WithHead for the head of classes.
func WithHeadOf(m Model, classes *Classes) (Model, error) {
	h, err := m.Config().HeadOf(classes)
	if err != nil {
		return nil, err
	}
	return withHead(m, h), nil
}
