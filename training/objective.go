package training

import (
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// The values of --objective, beside an empty one: see Run.labels.
const (
	generates   = "generate"
	classifies  = "classify"
	multiLabels = "multi-label"
	regresses   = "regress"
	tags        = "tag"
	contrasts   = "contrastive"
)

// Objectives lists what can be learnt.
var Objectives = []string{generates, classifies, multiLabels, regresses, tags, contrasts}

// objectives is what the objectives of heads learn.
var objectives = map[string]models.Classes{
	classifies:  {Task: models.Classify, Problem: models.SingleLabel},
	multiLabels: {Task: models.Classify, Problem: models.MultiLabel},
	regresses:   {Task: models.Classify, Problem: models.Regression},
	tags:        {Task: models.Tag},
}

// Objective is what is learnt: the token that follows or, where there is a head of a
// task, what its scores are to be, or which texts have embeddings that are near.
type Objective struct {
	Head      *models.Head // nil: the token that follows
	Problem   models.Problem
	Classes   int
	Names     []string  // of the classes
	Weights   []float32 // of the classes; nil: 1 each
	Smoothing float64   // how much of a label is spread evenly over all classes

	Recipe *pooling.Recipe // of embeddings that are compared, in the place of all else; nil: there are none
}

// weight is what a sequence weighs in the mean that the loss is.
func (o *Objective) weight(s Sequence) float64 {
	if o.Recipe != nil {
		return float64(max(1-s.Text, 0)) // one for all texts of a row
	}
	if s.Values != nil {
		return float64(len(s.Values))
	}
	if len(o.Weights) == 0 {
		return float64(s.Labels())
	}
	sum := 0.0
	for _, t := range s.Targets {
		if t >= 0 {
			sum += float64(o.Weights[t])
		}
	}
	return sum
}

// losses returns those of the hidden states h, whose rows predict what r says, and adds
// the gradient of their sum times scale to h's.
func (o *Objective) losses(p *models.Pass, m models.Model, r *rows, h *models.Value, scale float32) []float64 {
	if o.Head == nil {
		return crossEntropy(p, m, &r.Batch, h, r.targets, scale)
	}
	losses := make([]float64, len(r.targets))
	scores := p.Workspace(func() *models.Value { return o.Head.Forward(p, &r.Batch, 0, h) })
	p.GradientInPlace(scores)
	o.judge(p, losses, scores.Data, r, scale)
	p.Free(scores)
	return losses
}

// judge sets losses, and turns scores into their gradients.
func (o *Objective) judge(p *models.Pass, losses []float64, scores kernels.Matrix, r *rows, scale float32) {
	switch o.Problem {
	case models.MultiLabel:
		p.BinaryEntropy(losses, scores, r.values(o.Classes), scale)
	case models.Regression:
		p.SquaredError(losses, scores, r.values(o.Classes), scale)
	default:
		p.ClassEntropy(losses, scores, r.targets, o.Weights, float32(o.Smoothing), scale)
	}
}

// labels is what the data is to teach a head, completed by the data; nil: there is no
// head, and text is learnt.
func (r *Run) labels() (*dataset.Labels, error) {
	c := r.Base.Model.Config()
	if r.Objective == "" && c.Architecture.Does(models.Generate) || r.Objective == generates {
		if err := c.Architecture.Check(models.Generate); err != nil {
			return nil, err
		}
		return nil, r.headless()
	}
	if r.Objective == contrasts {
		return nil, r.compares()
	}
	l := &dataset.Labels{Classes: objectives[r.Objective]}
	l.Names = r.Classes
	o := dataset.Options{Columns: r.Columns}
	data := r.Data
	if r.Task != "" {
		task, err := dataset.NewTask(r.Task)
		if err != nil {
			return nil, err
		}
		own := task.Labels()
		if r.Objective != "" && (l.Task != own.Task || l.Problem != own.Problem) {
			return nil, fmt.Errorf("--objective: %s is not what --task %s is about", r.Objective, r.Task)
		}
		if l.Task, l.Problem = own.Task, own.Problem; l.Names == nil {
			l.Names = own.Names
		}
		o.Task, o.Header = task, task.Header
		data, _ = r.files(task)
	}
	var known []string
	if c.Classes != nil {
		known = c.Classes.Names
	}
	if r.InitAdapter != "" {
		folder, err := adapters.Open(r.InitAdapter)
		if err != nil {
			return nil, fmt.Errorf("--init-adapter: %w", err)
		}
		if known = nil; folder.Config.Classes != nil {
			known = folder.Config.Classes.Names
		}
	}
	if err := l.Survey(data, o, known); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return l, r.fitsHead(l)
}

// fitsHead refuses settings that mean nothing to the head, and a base that can have none.
func (r *Run) fitsHead(l *dataset.Labels) error {
	single := l.Task == models.Tag || l.Problem == models.SingleLabel
	switch n := len(r.Weights); {
	case n > 0 && !single:
		return fmt.Errorf("--class-weights: they are of classes that exclude each other, and the labels are not: %s", l.Problem)
	case n > 0 && n != len(l.Names):
		return fmt.Errorf("--class-weights: %d weights for %d classes: %s", n, len(l.Names), shortList(l.Names))
	case r.Smoothing > 0 && !single:
		return fmt.Errorf("--label-smoothing: it is of classes that exclude each other, and the labels are not: %s", l.Problem)
	case r.Packing:
		return fmt.Errorf("--packing: texts for a head are not packed: each is computed by itself anyway")
	case r.LearnPrompt:
		return fmt.Errorf("--learn-prompt: texts for a head are no prompts")
	}
	if err := formless(r.Format, r.Turns); err != nil {
		return err
	}
	_, err := r.Base.Model.Config().Head(l.Task)
	return err
}

// formless refuses settings of what rows hold that is read as text: those for a head are
// read by their columns.
func formless(format, turns string) error {
	switch {
	case format != "" && format != "auto":
		return fmt.Errorf("--format: it is %s, and rows for a head are read by their columns, and so are texts that are compared", format)
	case turns != "" && turns != "all":
		return fmt.Errorf("--turns: it is %s, and texts for a head are no conversations", turns)
	}
	return nil
}

// under gives the base the head of the labels, for the method to train.
func (r *Run) under(l *dataset.Labels) error {
	own := *r.Base
	var err error
	own.Model, err = headFor(own.Model, r.Method, l, r.Seed)
	r.Base = &own
	return err
}

// headFor is a model with the head of the labels, one of its own where the method trains
// the whole.
func headFor(m models.Model, method string, l *dataset.Labels, seed uint64) (models.Model, error) {
	if _, ok := wholes[method]; ok {
		return models.WithNewHead(m, l.Classes, drawHead(seed))
	}
	return models.WithHead(m, l.Task)
}

// objective is what the run learns.
func (r *Run) objective() (Objective, error) {
	if r.heads == nil {
		return Objective{Recipe: r.recipe}, nil
	}
	head, err := r.Base.Model.Config().Head(r.heads.Task)
	o := Objective{Head: head, Problem: r.heads.Problem, Classes: len(r.heads.Names), Names: r.heads.Names, Smoothing: r.Smoothing}
	for _, w := range r.Weights {
		o.Weights = append(o.Weights, float32(w))
	}
	return o, err
}

// shortList is the first few of some names.
func shortList(names []string) string {
	const most = 8
	short := slices.Clone(names[:min(len(names), most)])
	if len(names) > most {
		short = append(short, "…")
	}
	return fmt.Sprint(short)
}

// validateClasses calls fault for what is wrong with the settings of a head.
func (c *Config) validateClasses(fault func(flag, format string, a ...any)) {
	for i, name := range c.Classes {
		if strings.TrimSpace(name) == "" || slices.Contains(c.Classes[:i], name) {
			fault("classes", "%q is there twice, or is no name", name)
		}
	}
	if c.Objective == generates || c.Objective == contrasts {
		for _, flag := range c.ofAHead() {
			fault(flag, "it is of a head, and --objective %s trains none", c.Objective)
		}
	}
}

// ofAHead lists the settings that were given and that only a head has.
func (c *Config) ofAHead() (flags []string) {
	for flag, given := range map[string]bool{"classes": len(c.Classes) > 0, "class-weights": len(c.Weights) > 0, "label-smoothing": c.Smoothing > 0} {
		if given {
			flags = append(flags, flag)
		}
	}
	slices.Sort(flags)
	return flags
}

// headless refuses settings of a head where the base generates text, and nothing says
// that a head is to learn.
func (r *Run) headless() error {
	if flags := r.ofAHead(); len(flags) > 0 {
		if r.Objective == contrasts {
			return fmt.Errorf("--%s: of a head, and --objective %s trains none", strings.Join(flags, ", --"), contrasts)
		}
		return fmt.Errorf("--%s: of a head, and the run learns text, as the base generates it: --objective %s trains a head (or %s, %s, %s)", strings.Join(flags, ", --"), classifies, multiLabels, regresses, tags)
	}
	return nil
}

// drawHead draws the first weights of a head that is a model's own, as transformers does.
func drawHead(seed uint64) func(module string, weights []float32) {
	const deviation = 0.02 // initializer_range
	return func(module string, weights []float32) {
		random.Named(seed, module+".weight").Normal(weights, deviation)
	}
}

// told says what a head tells apart.
func (r *Run) told() string {
	if r.heads.Problem == models.Regression {
		return "a number"
	}
	return fmt.Sprintf("%d classes %s", len(r.heads.Names), shortList(r.heads.Names))
}
