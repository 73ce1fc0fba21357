package training

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// recipe is what a method's name stands for.
type recipe struct {
	rate    float64 // the default learning rate
	blocks  func(m models.Model, c *Config) *Blocks
	adapter func(m models.Model, c *Config) map[string]any
	adjust  func(c *Config)
}

var recipes = map[string]recipe{
	"full": {rate: 5e-5, blocks: func(m models.Model, _ *Config) *Blocks { return Full(m) }},
	"lisa": {rate: 5e-5, blocks: func(m models.Model, c *Config) *Blocks {
		return LISA(m, c.Gamma, c.Interval, !c.FreezeOutside, c.Seed)
	}},
	"block-wise": {rate: 5e-5, blocks: func(m models.Model, c *Config) *Blocks {
		return Blockwise(m, c.BlockOrder, c.BlockInterval, !c.FreezeOutside, c.Seed)
	}},
	"galore":   {rate: 2e-4, blocks: func(m models.Model, _ *Config) *Blocks { return Full(m) }},
	"lora":     {rate: 2e-4, adapter: loraValues},
	"rslora":   {rate: 2e-4, adapter: loraValues, adjust: func(c *Config) { c.RSLoRA = true }},
	"dora":     {rate: 2e-4, adapter: loraValues, adjust: func(c *Config) { c.DoRA = true }},
	"lora+":    {rate: 1e-4, adapter: loraValues, adjust: func(c *Config) { c.PlusRatio = orElse(c.PlusRatio, 16) }},
	"ia3":      {rate: 1e-3, adapter: ia3Values},
	"bitfit":   {rate: 1e-3, adapter: bitfitValues},
	"houlsby":  {rate: 3e-4, adapter: bottleneckValues(bottleneck{attention: true, reduction: 16, act: "swish", scaling: 1, start: "bert"})},
	"pfeiffer": {rate: 3e-4, adapter: bottleneckValues(bottleneck{seesSum: true, reduction: 16, act: "relu", scaling: 1, start: "bert"})},
	"parallel": {rate: 3e-4, adapter: bottleneckValues(bottleneck{parallel: true, reduction: 2, act: "relu", scaling: 4, start: "mam_adapter"})},
	"prefix":   {rate: 1e-2, adapter: virtualValues("PREFIX_TUNING")},
	"prompt":   {rate: 3e-2, adapter: virtualValues("PROMPT_TUNING")},
}

func orElse(v, fallback float64) float64 {
	if v != 0 {
		return v
	}
	return fallback
}

// Methods lists the names of the methods.
func Methods() []string { return slices.Sorted(maps.Keys(recipes)) }

// Known reports whether there is a method of that name, or of that other name.
func Known(name string) bool {
	_, ok := recipes[Spelt(name)]
	return ok
}

// spellings are other names of methods.
var spellings = map[string]string{"loraplus": "lora+", "blockwise": "block-wise", "prefix-tuning": "prefix", "prompt-tuning": "prompt"}

// Spelt is the name of the method that goes by this one.
func Spelt(name string) string {
	if own, ok := spellings[name]; ok {
		return own
	}
	return name
}

// settle fills in what depends on the method.
func (c *Config) settle() recipe {
	r := recipes[c.Method]
	if r.adjust != nil {
		r.adjust(c)
	}
	c.LR = orElse(c.LR, r.rate)
	return r
}

// method opens the parameters that the configuration trains.
func (c *Config) method(m models.Model) (Method, error) {
	r := c.settle()
	if err := c.fits(m); err != nil {
		return nil, err
	}
	if r.blocks != nil {
		if c.InitAdapter != "" {
			return nil, fmt.Errorf("--init-adapter: %s trains the base itself", c.Method)
		}
		if c.DType == "" {
			c.DType = precisionFor(m.Config().Precision)
		}
		return r.blocks(m, c), nil
	}
	training := adapters.Training{Dropout: c.Dropout, Seed: c.Seed, DrawnLayers: c.AdapterDropMax}
	if c.InitAdapter != "" {
		folder, err := adapters.Open(c.InitAdapter)
		if err != nil {
			return nil, fmt.Errorf("--init-adapter: %w", err)
		}
		a, err := adapters.Load(m, folder)
		if err != nil {
			return nil, fmt.Errorf("--init-adapter: %w", err)
		}
		if err := a.Resized(m); err != nil {
			return nil, fmt.Errorf("--init-adapter: %w", err)
		}
		if err := c.madeBy(a); err != nil {
			return nil, err
		}
		switch { // what trains it now, not what did before
		case slices.Contains(lowRank, c.Method):
			a.Config().Note("lora_dropout", c.Dropout)
		case slices.Contains(bottlenecks, c.Method):
			a.Config().Note("dropout", c.Dropout)
		}
		written, err := adapters.WriteOut(m, a.Config())
		if err != nil {
			return nil, fmt.Errorf("--init-adapter: %w", err)
		}
		written.Complete()
		*a.Config() = *written
		return NewAdapted(m, a, training), nil
	}
	config, err := adapters.NewConfig(c.AdapterValues(m))
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

// AdapterValues is the adapter_config.json of the configuration.
func (c *Config) AdapterValues(m models.Model) map[string]any {
	values := c.settle().adapter(m, c)
	values["task_type"] = "CAUSAL_LM"
	if c.BaseName != "" {
		values["base_model_name_or_path"] = c.BaseName
	}
	if len(c.Save) > 0 {
		values["modules_to_save"] = c.Save
	}
	return values
}

// nameBase settles what the adapter calls its base. Of an adapter to go on from
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

func (c *Config) targets(values map[string]any) {
	values["target_modules"] = Targets(c.Targets)
	if len(c.Exclude) > 0 {
		values["exclude_modules"] = c.Exclude
	}
}

func loraValues(m models.Model, c *Config) map[string]any {
	alpha := orElse(c.Alpha, 2*float64(c.R))
	r := c.R
	if c.Start == "pissa" || c.Start == "olora" { // saved converted: see adapters.Start
		r = 2 * c.R
		alpha *= 2
		if c.RSLoRA {
			alpha /= 1.4142135623730951
		}
	}
	start := any(true)
	if c.Start == "gaussian" {
		start = "gaussian"
	}
	values := map[string]any{
		"peft_type": "LORA", "r": r, "lora_alpha": alpha, "lora_dropout": c.Dropout, "bias": c.Bias,
		"use_rslora": c.RSLoRA, "use_dora": c.DoRA, "init_lora_weights": start, "fan_in_fan_out": turned(m),
	}
	// PEFT wants dictionaries, empty ones too.
	ranks, alphas := map[string]int{}, map[string]float64{}
	for module, rank := range c.RankPattern {
		ranks[module] = rank * (r / c.R)
	}
	for module, own := range c.AlphaPattern {
		alphas[module] = own * (alpha / orElse(c.Alpha, 2*float64(c.R)))
	}
	values["rank_pattern"], values["alpha_pattern"] = ranks, alphas
	if len(c.Layers) > 0 {
		values["layers_to_transform"] = c.Layers
	}
	c.targets(values)
	return values
}

// turned reports whether the base has Conv1D modules, which PEFT calls
// fan_in_fan_out.
func turned(m models.Model) bool {
	return slices.ContainsFunc(m.Sites(), func(s models.Site) bool { return s.Conv1D })
}

func ia3Values(m models.Model, c *Config) map[string]any {
	values := map[string]any{"peft_type": "IA3", "fan_in_fan_out": turned(m), "init_ia3_weights": true}
	c.targets(values)
	return values
}

// bitfitValues trains the base's biases; with --zero-biases, on a base that
// has none, biases that PEFT calls BEFT.
func bitfitValues(m models.Model, c *Config) map[string]any {
	if !c.ZeroBiases || turned(m) { // GPT-2 has them all
		values := map[string]any{"peft_type": "BITFIT"}
		c.targets(values)
		return values
	}
	values := map[string]any{"peft_type": "BEFT", "init_weights": true}
	c.targets(values)
	if values["target_modules"] == nil {
		values["target_modules"] = "all-linear"
	}
	return values
}

// bottleneck is one of AdapterHub's configurations: DoubleSeqBnConfig,
// SeqBnConfig, ParBnConfig.
type bottleneck struct {
	attention bool // after the attention too
	parallel  bool
	seesSum   bool // reads output and residual
	reduction float64
	act       string
	scaling   float64
	start     string // init_weights
}

func bottleneckValues(b bottleneck) func(models.Model, *Config) map[string]any {
	return func(_ models.Model, c *Config) map[string]any {
		values := map[string]any{
			"peft_type": "BOTTLENECK", "mh_adapter": b.attention, "output_adapter": true, "is_parallel": b.parallel,
			"reduction_factor": orElse(c.Reduction, b.reduction), "scaling": orElse(c.Scaling, b.scaling), "non_linearity": b.act,
			"original_ln_before": b.seesSum, "original_ln_after": true, "ln_before": false, "ln_after": false,
			"residual_before_ln": true, "adapter_residual_before_ln": false, "dropout": c.Dropout, "init_weights": b.start,
		}
		if c.InitWeights != "" {
			values["init_weights"] = c.InitWeights
		}
		if c.NonLinearity != "" {
			values["non_linearity"] = c.NonLinearity
		}
		drop := make([]int, c.AdapterDrop)
		for i := range drop {
			drop[i] = i
		}
		values["leave_out"] = drop
		return values
	}
}

func virtualValues(peftType string) func(models.Model, *Config) map[string]any {
	return func(m models.Model, c *Config) map[string]any {
		b := m.Config()
		values := map[string]any{
			"peft_type": peftType, "num_virtual_tokens": c.VirtualTokens, "num_layers": b.Layers,
			"num_attention_heads": b.Heads, "token_dim": b.Hidden, "num_transformer_submodules": 1,
		}
		if peftType == "PREFIX_TUNING" {
			values["num_attention_heads"], values["token_dim"] = b.KVHeads, b.KVHeads*b.HeadDim
			values["prefix_projection"] = false
		} else {
			values["prompt_tuning_init"] = "RANDOM"
		}
		return values
	}
}

// Targets is the value of target_modules: one regular expression or all-linear
// as text, names as a list, nil for none.
func Targets(modules []string) any {
	switch {
	case len(modules) == 0:
		return nil
	case len(modules) == 1 && isExpression(modules[0]):
		return modules[0]
	}
	return slices.Clone(modules)
}

// isExpression tells a regular expression, or all-linear, from a module's name.
func isExpression(s string) bool {
	return strings.EqualFold(s, "all-linear") || strings.ContainsAny(s, `*+?()[]{}|\^$`)
}
