package models

import (
	"fmt"
	"slices"
	"sync"

	"github.com/peft-serve/peft-serve/kernels"
)

// headForm is what an architecture's head of a task consists of.
type headForm struct {
	class  string             // transformers' class of a base that has one: "LlamaForSequenceClassification"
	pooled bool               // it reads rows of the pooler, not hidden states
	dense  string             // a linear of the hidden size before the last; empty: none
	act    kernels.Activation // between the two
	plain  bool               // dense has no bias
	norm   *headNorm          // behind dense and act; nil: none
	mean   bool               // of a whole text it reads the mean of all rows
	out    string             // the last: a score for each class
	bias   bias               // of the last
}

// headNorm is a LayerNorm of a head.
type headNorm struct {
	module  string
	epsilon float32
	biased  bool
}

// encoderHeads are the heads of an encoder's classes, whose names begin with stem: a
// linear of each token, and that form of a text's first row.
func encoderHeads(stem string, text headForm) map[Task]headForm {
	text.class, text.bias = stem+"ForSequenceClassification", with
	return map[Task]headForm{
		Classify: text,
		Tag:      {class: stem + "ForTokenClassification", out: "classifier", bias: with},
	}
}

// denseHead is RoBERTa's: a dense layer, an activation and the scores.
func denseHead(act kernels.Activation) headForm {
	return headForm{dense: "classifier.dense", act: act, out: "classifier.out_proj"}
}

// decoderHeads are transformers' GenericForSequenceClassification and
// GenericForTokenClassification: a linear in the place of the one that makes logits.
func decoderHeads(stem string) map[Task]headForm {
	return map[Task]headForm{
		Classify: {class: stem + "ForSequenceClassification", out: "score"},
		Tag:      {class: stem + "ForTokenClassification", out: "score", bias: with},
	}
}

// Head makes scores of classes from hidden states: the base's own, or what the
// architecture has for one that an adapter brings.
type Head struct {
	Task Task
	// Classes are those of the base's own; nil: it has none, and only rows of adapters
	// that bring one go through the head.
	Classes *Classes
	// Mean: of a whole text it reads the mean of all rows, so all of them are wanted.
	Mean bool

	config        *Config
	last          bool      // of a text it reads the last row, and not the first
	pooler, dense *Linear   // nil: none
	deep          []*Linear // more like dense: see HeadForm
	act           kernels.Activation
	norm          *Norm // nil: none
	out           *Linear
	sites         Sites // of dense and out, which come after all others of the model
}

// Forward returns the scores of rows [from, from+rows of x) of b.Out, [rows, most
// classes]: what a row holds beyond its own classes is undefined. x is what
// Model.Forward returned, of first or last rows or of all, as Task wants it.
func (h *Head) Forward(p *Pass, b *Batch, from int, x *Value) *Value {
	if h.Mean {
		mean, texts := h.means(p, b, x)
		scores := h.through(p, texts, mean)
		p.Free(mean)
		return scores
	}
	given := x
	if h.pooler != nil {
		x = pooled(p, h.pooler, b, from, x)
	}
	scores := h.through(p, headSegments(p, b, from, x.Rows()), x)
	if x != given {
		p.Free(x)
	}
	return scores
}

// through returns the scores of rows behind pooler or mean.
func (h *Head) through(p *Pass, segments []Segment, x *Value) *Value {
	given := x
	through := func(l *Linear) {
		y := activated(p, h.act, l.Forward(p, segments, x))
		if x != given {
			p.Free(x)
		}
		x = y
	}
	if h.dense != nil {
		through(h.dense)
	}
	if h.norm != nil {
		x = h.norm.replace(p, segments, x)
	}
	for _, l := range h.deep {
		through(l)
	}
	scores := h.out.Forward(p, segments, x)
	if x != given {
		p.Free(x)
	}
	return scores
}

// Place is where in a text, which stands behind so many virtual tokens, the row is
// that Classify reads: of an encoder the first, which may be a virtual one, and of a
// decoder the last that is no padding. Where there are virtual tokens, transformers
// knows of no padding.
func (h *Head) Place(tokens []int32, virtual int) int {
	if !h.last {
		return -virtual
	}
	n := len(tokens) - 1
	if h.config.Padding < 0 || virtual > 0 {
		return n
	}
	for n > 0 && tokens[n] == h.config.Padding {
		n--
	}
	return n
}

// heads reads the base's own head and lays out those that adapters may bring. It
// is called when all other sites are numbered.
func (s *Source) heads(c *Config, pooler *Linear, last bool) {
	c.heads, c.trunk, c.Causal, c.pooler = map[Task]*Head{}, len(s.sites), last, pooler
	c.forms = &sync.Map{}
	own := s.prediction(c)
	for task, form := range s.headForms() {
		if form.pooled && pooler == nil || form.class == s.class {
			continue
		}
		h := &Head{Task: task, config: c, last: last, act: form.act, Mean: form.mean, out: &Linear{W: kernels.Weight{Cols: c.Hidden}}}
		if form.pooled {
			h.pooler = pooler
		}
		open := func(module string, l *Linear, labels, biased bool) *Linear {
			l.Site = c.trunk + len(h.sites)
			h.sites = append(h.sites, Site{Name: module, Kind: LinearSite, Layer: -1, Linear: l, Classes: labels, Open: true, Biased: biased})
			return l
		}
		switch {
		case own != nil:
			h.sites = slices.Clone(own)
			h.dense, h.norm = own[0].Linear, own[1].Norm
		case form.dense != "":
			h.dense = open(form.dense, &Linear{W: kernels.Weight{Rows: c.Hidden, Cols: c.Hidden}}, false, !form.plain)
			if form.norm != nil {
				h.norm = form.norm.fresh(c.trunk+len(h.sites), c.Hidden)
				h.sites = append(h.sites, Site{Name: form.norm.module, Kind: NormSite, Layer: -1, Norm: h.norm, Open: true})
			}
		}
		open(form.out, h.out, true, form.bias == with)
		c.heads[task] = h
	}
	for task, form := range s.headForms() {
		if form.class == s.class {
			s.ownHead(c, task, form, pooler, last)
		}
	}
}

// ownHead reads the head of a base whose class has one.
func (s *Source) ownHead(c *Config, task Task, form headForm, pooler *Linear, last bool) {
	classes, err := ReadClasses(s.config)
	if err != nil {
		s.fault("%s: %w", s.where(), err)
		return
	}
	classes.Task = task
	if classes.Names == nil {
		classes.Names = ClassNames(2) // transformers' default
	}
	if form.pooled && pooler == nil {
		s.fault("%s: architectures: %s has a pooler under its head, and there is no tensor pooler.dense.weight", s.where(), s.class)
		return
	}
	b := s.build(-1)
	h := &Head{Task: task, Classes: classes, config: c, last: last, act: form.act, Mean: form.mean}
	if form.pooled {
		h.pooler = pooler
	}
	if form.dense != "" {
		h.dense = b.linear(form.dense, c.Hidden, c.Hidden, biasIf(!form.plain))
	}
	if form.norm != nil {
		h.norm = form.norm.read(b, c.Hidden)
	}
	h.out = b.linear(form.out, len(classes.Names), c.Hidden, form.bias)
	for i := c.trunk; i < len(s.sites); i++ {
		if l := s.sites[i].Linear; l != nil {
			s.sites[i].Biased, s.sites[i].Classes = len(l.Bias) > 0, l == h.out
		}
	}
	h.sites = s.sites[c.trunk:]
	c.heads[task], c.Classes = h, classes
}

// Head is the head of a task, of which an error says why there can be none.
func (c *Config) Head(t Task) (*Head, error) {
	if h := c.heads[t]; h != nil {
		return h, nil
	}
	if err := c.Architecture.Check(t); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: the head of %s stands on a pooler, and the base has none", ErrTask, c.Architecture.heads[t].class)
}

// WithHead is a model under the names that its modules have in transformers' class
// with the head of a task: those of the head are among its sites, and neither a
// decoder's output embedding is nor a pooler that the head does not stand on.
func WithHead(m Model, t Task) (Model, error) {
	h, err := m.Config().Head(t)
	if err != nil {
		return nil, err
	}
	return withHead(m, h), nil
}

func withHead(m Model, h *Head) Model {
	sites := slices.Concat(m.Sites()[:m.Config().trunk], h.sites)
	for i := range sites {
		if sites[i].Head || h.leaves(sites[i].Linear) {
			sites[i] = Site{Name: sites[i].Name, Kind: AbsentSite, Layer: -1}
		}
	}
	return &headed{m, sites, m.Config()}
}

// leaves reports whether a linear is a pooler on which the head does not stand: its class
// has none.
func (h *Head) leaves(l *Linear) bool { return l != nil && l == h.config.pooler && h.pooler == nil }

// headed is a model with the sites of a head.
type headed struct {
	Model
	sites  Sites
	config *Config
}

// Config implements Model.
func (m *headed) Config() *Config { return m.config }

// Sites implements Model.
func (m *headed) Sites() Sites { return m.sites }
