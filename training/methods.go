package training

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// whole is a way to train the base itself.
type whole struct {
	also   string   // another spelling of its name
	rate   float64  // the default learning rate
	reads  []string // the settings that mean something to it
	blocks func(m models.Model, c *Config) *Blocks
}

var wholes = map[string]whole{
	"full": {rate: 5e-5, reads: []string{"dtype"}, blocks: func(m models.Model, _ *Config) *Blocks { return Full(m) }},
	"lisa": {rate: 5e-5, reads: []string{"lisa-layers", "lisa-interval", "freeze-embeddings", "dtype"},
		blocks: func(m models.Model, c *Config) *Blocks {
			return LISA(m, c.Gamma, c.Interval, !c.FreezeOutside, c.Seed)
		}},
	"block-wise": {also: "blockwise", rate: 5e-5, reads: []string{"block-order", "block-interval", "freeze-embeddings", "dtype"},
		blocks: func(m models.Model, c *Config) *Blocks {
			return Blockwise(m, c.BlockOrder, c.BlockInterval, !c.FreezeOutside, c.Seed)
		}},
	"galore": {rate: 2e-4, reads: []string{"galore-rank", "galore-update-proj-gap", "galore-scale", "dtype"},
		blocks: func(m models.Model, _ *Config) *Blocks { return Full(m) }},
}

// Methods lists the names of the methods.
func Methods() []string {
	names := slices.Collect(maps.Keys(wholes))
	for _, r := range adapters.Recipes() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

// Known reports whether there is a method of that name, or of that other name.
func Known(name string) bool { return slices.Contains(Methods(), Spelt(name)) }

// Spelt is the name of the method that goes by this one.
func Spelt(name string) string {
	for own, w := range wholes {
		if name == w.also {
			return own
		}
	}
	if r, ok := adapters.FindRecipe(name); ok {
		return r.Name
	}
	return name
}

// Reads lists the settings that mean something to a method, by their flags.
func Reads(method string) []string {
	if w, ok := wholes[method]; ok {
		return w.reads
	}
	r, _ := adapters.FindRecipe(method)
	return r.Reads
}

// complete fills in what depends on the method.
func (c *Config) complete() {
	if w, ok := wholes[c.Method]; ok {
		c.LR = cmp.Or(c.LR, w.rate)
		return
	}
	r, _ := adapters.FindRecipe(c.Method)
	c.LR, c.PlusRatio = cmp.Or(c.LR, r.Rate), cmp.Or(c.PlusRatio, r.Ratio)
}

// method opens the parameters that the configuration trains, of a head too where labels
// say what it learns; nil: there is none. What is odd about it is noted before memory is
// taken for it.
func (c *Config) method(m models.Model, l *dataset.Labels, note func(format string, a ...any)) (Method, error) {
	c.complete()
	if w, ok := wholes[c.Method]; ok {
		if err := c.fits(m); err != nil {
			return nil, err
		}
		if c.InitAdapter != "" {
			return nil, fmt.Errorf("--init-adapter: %s trains the base itself", c.Method)
		}
		if c.DType == "" {
			c.DType = precisionFor(m.Config().Precision)
		}
		return w.blocks(m, c), nil
	}
	recipe, _ := adapters.FindRecipe(c.Method)
	training := adapters.Training{Dropout: c.Dropout, Seed: c.Seed, DrawnLayers: c.AdapterDropMax}
	if c.InitAdapter != "" {
		a, err := c.goOn(m, recipe, l)
		if err != nil {
			return nil, fmt.Errorf("--init-adapter: %w", err)
		}
		return NewAdapted(m, a, training), nil
	}
	if recipe.Check != nil {
		if err := recipe.Check(m, &c.Choice); err != nil {
			return nil, err
		}
	}
	var classes *models.Classes
	if l != nil {
		classes = &l.Classes
	}
	config, err := recipe.Config(m, &c.Choice, classes)
	if err != nil {
		return nil, err
	}
	key, entry, err := adapters.Unmatched(m, config)
	if err != nil {
		return nil, err
	}
	if key != "" {
		return nil, fmt.Errorf("--%s: no module answers to %q", strings.ReplaceAll(key, "_", "-"), entry)
	}
	if config, err = adapters.WriteOut(m, config); err != nil {
		return nil, err
	}
	beyond, err := adapters.BeyondRank(m, config, c.Start)
	if err != nil {
		return nil, err
	}
	if beyond != nil {
		note("--r: a rank of %d is above %d, the smaller side of the largest module that is adapted: a higher one than that takes memory and can learn no more; the adapter's values take %s, and gradients and optimizer come on top",
			beyond.Rank, beyond.Side, Size(beyond.Bytes))
	}
	a, err := adapters.New(m, config)
	if err != nil {
		return nil, err
	}
	if err := adapters.Start(a, c.Start, c.Seed); err != nil {
		return nil, err
	}
	training.Start = c.Start
	return NewAdapted(m, a, training), nil
}

// goOn loads the adapter that the run goes on from.
func (c *Config) goOn(m models.Model, recipe adapters.Recipe, l *dataset.Labels) (*adapters.Adapter, error) {
	folder, err := adapters.Open(c.InitAdapter)
	if err != nil {
		return nil, err
	}
	a, err := adapters.Load(m, folder)
	if err != nil {
		return nil, err
	}
	if err := a.Resized(m); err != nil {
		return nil, err
	}
	if err := sameHead(a.Classes(), l); err != nil {
		return nil, err
	}
	if is, want, ok := recipe.Continues(a.Config(), &c.Choice); !ok {
		return nil, fmt.Errorf("%s is of method %s, not %s: --method has to say so", c.InitAdapter, is, strings.Join(want, " or "))
	}
	if layers := m.Config().Layers; c.AdapterDropMax >= layers && slices.Contains(recipe.Reads, "adapter-drop-random") {
		return nil, fmt.Errorf("--adapter-drop-random: %d would leave no adapter in %d blocks", c.AdapterDropMax, layers)
	}
	if recipe.Dropout != "" { // what trains it now, not what did before
		a.Config().Note(recipe.Dropout, c.Dropout)
	}
	written, err := adapters.WriteOut(m, a.Config())
	if err != nil {
		return nil, err
	}
	written.Complete()
	*a.Config() = *written
	return a, nil
}

// nameBase decides what the adapter calls its base. Of an adapter to go on from
// its own word holds, unless --base-name is given or it is no name on the hub.
func (r *Run) nameBase() error {
	adapted, ok := r.Trainer.Method.(*Adapted)
	if !ok {
		r.BaseName = cmp.Or(r.BaseName, r.Base.Name)
		return nil
	}
	config, revision := adapted.Trainee.Config(), ""
	if r.BaseName == "" {
		if models.IsHubName(config.Base) {
			r.BaseName = config.Base
			return nil
		}
		r.BaseName, revision = r.Base.Name, r.Base.Revision
	}
	if r.BaseName == "" {
		r.observer.Note("the base says no name of its own: base_model_name_or_path is null; --base-name gives it one")
	}
	return config.NameBase(r.BaseName, revision)
}

// sameHead refuses an adapter to go on from whose head is not the one that learns.
func sameHead(own *models.Classes, l *dataset.Labels) error {
	switch {
	case own == nil && l == nil:
		return nil
	case own == nil:
		return errors.New("it has no head for the labels")
	case l == nil:
		return fmt.Errorf("it has a head of %d classes: --objective says what that learns", len(own.Names))
	case own.Task != l.Task || !slices.Equal(own.Names, l.Names):
		return fmt.Errorf("its head tells %s apart (%s), and the labels are %s (%s): --classes names them in its order", shortList(own.Names), own.Task, shortList(l.Names), l.Task)
	}
	return nil
}
