package adapters

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models"
)

// Recipe is a way to train a family that peft-train offers by name.
type Recipe struct {
	Name string   // of --method: "rslora"
	Also []string // other spellings of it
	Rate float64  // the learning rate, unless another is chosen
	// Ratio is how many times as fast as A B learns, unless another is chosen
	// (LoRA+); 0: as fast.
	Ratio float64
	// Reads lists the settings that mean something to it, by their flags.
	Reads []string
	// Dropout is the key of the configuration that says what dropout it was
	// trained with; empty: none does.
	Dropout string
	// Values is the adapter_config.json of a choice, but for task_type, the
	// base's name, modules_to_save and Choice.Set.
	Values func(m models.Model, c *Choice) map[string]any
	// Check says what a choice asks of a base that the base cannot do; nil:
	// nothing.
	Check func(m models.Model, c *Choice) error
	// Kinds are those of the adapters that it goes on with; nil: its name.
	Kinds func(c *Choice) []string
}

// Choice is what can be chosen of an adapter that is to be trained, by PEFT's
// names where it has one. The tags are read by the command line and by YAML
// files of settings. R and VirtualTokens of 0, and an empty Bias and Start, are
// their defaults.
type Choice struct {
	R              int                `help:"Rank; 0: the method's own." group:"method" is:"amount"`
	Alpha          float64            `name:"lora-alpha" help:"LoRA's alpha; 0: twice the rank." group:"method" is:"amount"`
	Dropout        float64            `name:"lora-dropout" help:"Dropout on the input of LoRA or bottlenecks." group:"method" is:"share"`
	Targets        []string           `name:"target-modules" help:"Modules to adapt, all-linear or a regular expression; none: the architecture's; dummy-target-modules: no module." group:"method"`
	Exclude        []string           `name:"exclude-modules" help:"Modules to leave out." group:"method"`
	Layers         []int              `name:"layers-to-transform" help:"Blocks to adapt; none: all." group:"method" is:"amount"`
	TopLayers      int                `name:"top-layers" help:"Blocks to adapt, from the highest; 0: all. What lies below is computed once for all adapters that leave it alone." group:"method" is:"amount"`
	RankPattern    map[string]int     `help:"Ranks of single modules." group:"method" is:"count"`
	AlphaPattern   map[string]float64 `help:"Alphas of single modules." group:"method" is:"positive"`
	Save           []string           `name:"modules-to-save" help:"Modules to train whole and to save with the adapter." group:"method"`
	Bias           string             `help:"Biases to train with LoRA: none, all, lora_only." default:"none" group:"method"`
	RSLoRA         bool               `name:"use-rslora" help:"Scale by alpha/√r." group:"method"`
	DoRA           bool               `name:"use-dora" help:"Train magnitude and direction apart." group:"method"`
	Start          string             `name:"init-lora-weights" help:"How the factors begin: ${starts}." default:"default" group:"method"`
	Reduction      float64            `name:"reduction-factor" help:"Bottlenecks: hidden size over theirs; 0: the method's own." group:"method" is:"amount"`
	NonLinearity   string             `help:"Bottlenecks: non-linearity; the method's own if empty." group:"method"`
	Scaling        float64            `help:"Bottlenecks: factor on the output; 0: the method's own." group:"method" is:"amount"`
	InitWeights    string             `name:"init-weights" help:"Bottlenecks: bert, mam_adapter or houlsby; the method's own if empty." group:"method"`
	AdapterDrop    int                `name:"adapter-drop" help:"Bottlenecks: blocks from the lowest that have none." group:"method" is:"amount"`
	AdapterDropMax int                `name:"adapter-drop-random" help:"Bottlenecks: leave out as many as are drawn for each step, up to this." group:"method" is:"amount"`
	VirtualTokens  int                `name:"num-virtual-tokens" help:"Prefix and prompt tuning: virtual tokens." default:"20" group:"method" is:"count"`
	ZeroBiases     bool               `help:"BitFit: give Linear modules biases of zero where the base has none." group:"method"`
	Set            map[string]string  `help:"Any other key of the method's adapter_config.json: KEY=VALUE, the value as JSON or text." group:"method"`
}

// rank and the like are choices with their defaults.
func (c *Choice) rank() int      { return cmp.Or(c.R, 8) }
func (c *Choice) virtual() int   { return cmp.Or(c.VirtualTokens, 20) }
func (c *Choice) biases() string { return cmp.Or(c.Bias, "none") }
func (c *Choice) alpha() float64 { return cmp.Or(c.Alpha, 2*float64(c.rank())) }

// Recipes lists the ways to train an adapter, sorted by name.
func Recipes() []Recipe {
	var all []Recipe
	for _, f := range methods {
		all = append(all, f.recipes...)
	}
	slices.SortFunc(all, func(a, b Recipe) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// FindRecipe returns the recipe of that name, or other spelling of it.
func FindRecipe(name string) (r Recipe, ok bool) {
	for _, r := range Recipes() {
		if r.Name == name || slices.Contains(r.Also, name) {
			return r, true
		}
	}
	return r, false
}

// Config is the configuration of a choice for an adapter of what the base does: of one
// under the head of a task (models.WithHead) for that, and then it brings a head of its
// own, of the classes that are told apart.
func (r Recipe) Config(m models.Model, c *Choice, classes *models.Classes) (*Config, error) {
	values := r.Values(m, c)
	values["task_type"] = m.Config().Architecture.Tasks[0]
	saved := slices.Clone(c.Save)
	if classes != nil {
		values["task_type"], saved = classes.Task, withHead(m, append(saved, headModules...))
	}
	if len(saved) > 0 {
		values["modules_to_save"] = saved
	}
	for _, key := range slices.Sorted(maps.Keys(c.Set)) {
		if err := r.settable(key, values); err != nil {
			return nil, fmt.Errorf("--set %s: %w", key, err)
		}
		values[key] = c.Set[key]
		if raw := json.RawMessage(c.Set[key]); json.Valid(raw) {
			values[key] = raw
		}
	}
	layers, _ := values["layers_to_transform"].([]int)
	if text, _ := values["target_modules"].(string); strings.EqualFold(text, allLinear) && len(layers) > 0 {
		t := targets{hasLayers: true, layers: layers, exclude: names{list: c.Exclude}, include: names{expr: allLinear}, kinds: []models.SiteKind{models.LinearSite}}
		list, err := t.listed(m)
		if err != nil {
			return nil, err
		}
		values["target_modules"] = list
	}
	config, err := NewConfig(values)
	if err == nil && classes != nil {
		config.Classes = &models.Classes{Names: classes.Names, Problem: classes.Problem}
	}
	return config, err
}

// withHead adds to modules to save those of the head that they do not capture and that
// the base has not: DeBERTa's pooler.
func withHead(m models.Model, saved []string) []string {
	for _, s := range m.Sites() {
		if s.Open && !slices.ContainsFunc(saved, func(name string) bool { return captures(name, s.Name) }) {
			saved = append(saved, s.Name)
		}
	}
	return saved
}

// settable refuses a key that something else decides.
func (r Recipe) settable(key string, values map[string]any) error {
	flag := strings.ReplaceAll(key, "_", "-")
	_, set := values[key]
	switch {
	case slices.Contains(r.Reads, flag):
		return fmt.Errorf("say it with --%s", flag)
	case key == "base_model_name_or_path":
		return errors.New("say it with --base-name")
	case key == "revision":
		return errors.New("it is of the base that is opened, which does not tell it")
	case set:
		return fmt.Errorf("method %s sets it", r.Name)
	}
	return nil
}

// Continues reports whether a configuration is of a kind that the recipe trains
// on, and if not, the kind that it is and those that would be.
func (r Recipe) Continues(config *Config, c *Choice) (is string, want []string, ok bool) {
	is, want = config.Method.Name(), []string{r.Name}
	if p, ok := config.Method.(interface{ Placement() string }); ok {
		is = p.Placement()
	}
	if r.Kinds != nil {
		want = r.Kinds(c)
	}
	return is, want, slices.Contains(want, is)
}

// layers are the blocks to adapt; nil: all.
func (c *Choice) layers(m models.Model) []int {
	if c.TopLayers == 0 {
		return c.Layers
	}
	all := m.Config().Layers
	var top []int
	for layer := max(all-c.TopLayers, 0); layer < all; layer++ {
		top = append(top, layer)
	}
	return top
}

// checkLayers refuses a block that the base has not.
func checkLayers(m models.Model, c *Choice) error {
	layers := m.Config().Layers
	switch {
	case c.TopLayers > layers:
		return fmt.Errorf("--top-layers: %d, the base has %d blocks", c.TopLayers, layers)
	case c.TopLayers > 0 && len(c.Layers) > 0:
		return errors.New("--top-layers and --layers-to-transform both say which blocks to adapt: give one")
	}
	for _, layer := range c.Layers {
		if layer < 0 || layer >= layers {
			return fmt.Errorf("--layers-to-transform: %d is no block: the base has 0 to %d", layer, layers-1)
		}
	}
	return nil
}

// target sets the keys that say what is adapted.
func (c *Choice) target(values map[string]any) {
	values["target_modules"] = targetModules(c.Targets)
	if len(c.Exclude) > 0 {
		values["exclude_modules"] = c.Exclude
	}
}

// targetModules is the value of target_modules: one regular expression, all-linear
// or noModules as text, names as a list, nil for none.
func targetModules(modules []string) any {
	switch {
	case len(modules) == 0:
		return nil
	case len(modules) == 1 && isExpression(modules[0]):
		return modules[0]
	}
	return slices.Clone(modules)
}

// isExpression tells what PEFT takes as text alone, a regular expression, all-linear
// or noModules, from a module's name.
func isExpression(s string) bool {
	return strings.EqualFold(s, allLinear) || s == noModules || strings.ContainsAny(s, `*+?()[]{}|\^$`)
}

// turned reports whether the base has Conv1D modules, which PEFT calls
// fan_in_fan_out.
func turned(m models.Model) bool {
	return slices.ContainsFunc(m.Sites(), func(s models.Site) bool { return s.Conv1D })
}

// biased reports whether a module of the base has a bias.
func biased(m models.Model) bool {
	return slices.ContainsFunc(m.Sites(), func(s models.Site) bool {
		return s.Kind == models.LinearSite && len(s.Linear.Bias) > 0 || s.Kind == models.NormSite && len(s.Norm.Bias) > 0
	})
}
