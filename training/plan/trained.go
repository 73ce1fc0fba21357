package plan

import (
	"cmp"
	"fmt"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training"
)

// Trained is what a method trains on a base: the tensors, and what stands at
// each site of the model.
type Trained struct {
	Method string
	// Tensors are those with gradients at the same time.
	Tensors []Tensor
	// Adapter tells that the tensors are an adapter's and not the base's own.
	Adapter bool
	// Recompute tells that the tape keeps one activation a block.
	Recompute bool

	base     *Base
	classes  *models.Classes  // of a head; nil: none
	recipe   *pooling.Recipe  // of embeddings that are learnt; nil: none are
	config   *adapters.Config // of an adapter
	training adapters.Training
	active   []int           // blocks of the base that train
	outside  bool            // and what lies outside the blocks
	at       map[int]*placed // by site
	frozen   int             // values of an adapter that stay as they begin
	widened  int             // parameters of the base that are float32 copies in the end
	galore   int             // rank of the projected gradients; 0: none
}

// Tensor is one trained tensor.
type Tensor struct {
	Name  string
	Shape []int

	inBlock bool // of one of the base's blocks
}

// Len is the number of values.
func (t Tensor) Len() int { return count(t.Shape) }

// Parameters is the number of values trained at the same time.
func (t *Trained) Parameters() int {
	n := 0
	for _, p := range t.Tensors {
		n += p.Len()
	}
	return n
}

// Head is the task of the head whose labels are learnt; empty: text is.
func (t *Trained) Head() models.Task {
	if t.classes == nil {
		return ""
	}
	return t.classes.Task
}

// Share is the trained part of base and adapter, the "# Params (%)" of DoRA's
// tables.
func (t *Trained) Share() float64 {
	all := t.base.parameters
	if t.Adapter {
		all += t.Parameters()
	}
	return float64(t.Parameters()) / float64(all)
}

// placed is what is trained at one site, as far as a count without a pass has
// to know it.
type placed struct {
	weight    bool // of the base, or in its place
	rank      int  // LoRA; 0: none
	magnitude bool // DoRA
	down      int  // width of a bottleneck; 0: none
}

// Train lays a choice out on the base.
func (b *Base) Train(c Choice) (*Trained, error) {
	if !training.Known(c.Method) {
		return nil, fmt.Errorf("%w: %q (known: %v)", ErrMethod, c.Method, Methods())
	}
	classes := b.classes(c.Classes)
	var embeds *pooling.Recipe
	if c.Embeddings {
		classes, b = nil, b.bare()
		var err error
		if embeds, err = b.Embeddings(); err != nil {
			return nil, err
		}
	}
	if recipe, ok := adapters.FindRecipe(c.Method); ok {
		if recipe.Check != nil {
			if err := recipe.Check(b, &c.Choice); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrMethod, err)
			}
		}
		config, err := recipe.Config(b, &c.Choice, classes)
		if err != nil {
			return nil, err
		}
		t, err := b.TrainAdapter(config, adapters.Training{Dropout: c.Dropout, Start: c.Start})
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMethod, c.Method, err)
		}
		t.Method, t.recipe = c.Method, embeds
		return t, nil
	}
	if classes != nil {
		under, err := b.under(classes)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMethod, c.Method, err)
		}
		b = under
	}
	layers := b.config.Layers
	switch c.Method {
	case "lisa":
		// Whichever blocks are drawn, their account is the same; the lowest
		// keep the longest tape.
		n := c.LISALayers
		if n == 0 {
			n = 2
		}
		layers = min(n, layers)
	case "block-wise":
		layers = 1
	}
	active := make([]int, layers)
	for i := range active {
		active[i] = i
	}
	drawn := c.Method == "lisa" || c.Method == "block-wise"
	outside := !drawn || !c.FreezeOutside
	t := b.TrainBlocks(active, outside)
	t.Method, t.classes, t.recipe = c.Method, classes, embeds
	if c.Method == "galore" {
		t.galore = cmp.Or(c.GaloreRank, 128)
	}
	if drawn { // in the end every block was active
		t.widened = b.TrainBlocks(every(b.config.Layers), outside).widened
	}
	return t, nil
}

// classes are those of a head for so many; nil: there is none.
func (b *Base) classes(n int) *models.Classes {
	if n == 0 || b.config.Architecture.Does(models.Generate) {
		return nil
	}
	c := &models.Classes{Task: b.task, Names: models.ClassNames(n)}
	if b.task == models.Classify {
		c.Problem = models.SingleLabel
	}
	return c
}

func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TrainBlocks trains blocks of the base itself, and with outside what lies
// outside the blocks.
func (b *Base) TrainBlocks(active []int, outside bool) *Trained {
	t := &Trained{Method: "blocks", base: b, active: active, outside: outside, at: map[int]*placed{}}
	on := map[int]bool{-1: outside}
	for _, layer := range active {
		on[layer] = true
	}
	head := models.HeadFrom(b.model)
	for i, s := range b.sites {
		if !on[s.Layer] && i < head { // a head always trains
			continue
		}
		if s.Head && b.config.Tied {
			t.at[i] = &placed{weight: true}
		}
		for _, tensor := range tensorsOf(s, b.config.Tied) {
			t.Tensors = append(t.Tensors, Tensor{s.Name + tensor.suffix, tensor.dims, s.Layer >= 0})
			if at := t.place(i); tensor.suffix == ".weight" {
				at.weight = true
			}
			if len(tensor.dims) > 1 && b.form(s.Name+tensor.suffix, tensor.dims) != kernels.F32 {
				t.widened += count(tensor.dims)
			}
		}
	}
	return t
}

func (t *Trained) place(site int) *placed {
	if t.at[site] == nil {
		t.at[site] = &placed{}
	}
	return t.at[site]
}

// TrainAdapter trains an adapter of the given configuration.
func (b *Base) TrainAdapter(config *adapters.Config, o adapters.Training) (*Trained, error) {
	params, err := adapters.Layout(b, config)
	if err != nil {
		return nil, err
	}
	t := &Trained{Method: config.Method.Name(), Adapter: true, base: b, config: config, training: o, at: map[int]*placed{}}
	if config.Classes != nil {
		t.classes = &models.Classes{Task: b.task, Names: config.Classes.Names, Problem: config.Classes.Problem}
	}
	for _, p := range params {
		shape := p.Trained(o.Start)
		if shape == nil {
			t.frozen += p.Len()
			continue
		}
		t.frozen += p.Len() - count(shape)
		t.Tensors = append(t.Tensors, Tensor{Name: p.Name, Shape: shape})
		if p.Site < 0 {
			continue
		}
		at, kind := t.place(p.Site), b.sites[p.Site].Kind
		switch {
		case p.Role == adapters.Magnitude:
			at.magnitude = true
		case p.Role == adapters.Down && kind == models.LinearSite:
			at.rank = p.Shape[0]
		case p.Role == adapters.Down && kind == models.SublayerSite:
			at.down = p.Shape[0]
		case p.Role == adapters.InPlace && len(p.Shape) > 1:
			at.weight = true
		}
	}
	return t, nil
}
