package adapters

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// LoRA (Hu et al., 2021), rsLoRA (Kalajdzievski, 2023) and DoRA (Liu et al.,
// 2024), as peft/tuners/lora saves them.

func init() {
	register(family{
		peftType: "LORA", parse: parseLoRA,
		defaults: `{
			"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "bias": "none", "corda_config": null,
			"ensure_weight_tying": false, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false,
			"init_lora_weights": true, "kasa_config": null, "layer_replication": null, "layers_pattern": null,
			"layers_to_transform": null, "loftq_config": {}, "lora_alpha": 8, "lora_bias": false, "lora_dropout": 0.0,
			"lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core", "monteclora_config": null,
			"qalora_group_size": 16, "r": 8, "rank_pattern": {}, "target_modules": null, "target_parameters": null,
			"trainable_token_indices": null, "use_bdlora": null, "use_dora": false, "use_qalora": false, "use_rslora": false,
			"velora_config": null}`,
		keys: loraKeys(keys{
			"r": read(), "lora_alpha": read(), "rank_pattern": read(), "alpha_pattern": read(), "use_rslora": read(), "use_dora": read(),
			"lora_bias": read(), "bias": read(), "alora_invocation_tokens": read(), "modules_to_save": read(), "ensure_weight_tying": read(), "trainable_token_indices": read(),
			"target_modules": read(), "exclude_modules": read(), "layers_to_transform": read(), "layers_pattern": read(), "init_lora_weights": read(),

			"lora_dropout":      inert(aNumber, inTraining),
			"fan_in_fan_out":    inert(aFlag, byLayer),
			"megatron_core":     inert(aText, "megatron_config is refused"),
			"qalora_group_size": inert(aNumber, "use_qalora is refused"),
			"runtime_config":    inert(anObject, "where PEFT computes"),
			"loftq_config":      inert(anObject, "of init_lora_weights, which is read"),
			"eva_config":        inert(anObject, "of init_lora_weights, which is read"),
			"corda_config":      inert(anObject, "of init_lora_weights, which is read"),
			"lora_ga_config":    inert(anObject, "of init_lora_weights, which is read"),
		}),
		tensors: []string{"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"},
		recipes: []Recipe{
			loraRecipe("lora", 2e-4, 0, lora{}), loraRecipe("rslora", 2e-4, 0, lora{rootScaling: true}),
			loraRecipe("dora", 2e-4, 0, lora{decomposed: true}), loraRecipe("lora+", 1e-4, 16, lora{}, "loraplus"),
		},
	})
}

// loraKeys adds what PEFT has of LoRA and all that derives from it, and is refused.
func loraKeys(k keys) keys {
	maps.Copy(k, keys{
		"use_qalora":        refused("QALoRA pools its input"),
		"megatron_config":   refused("the layers are Megatron's"),
		"layer_replication": refused("the base has replicated layers"),
		"target_parameters": refused("LoRA on parameters that are not modules"),
		"arrow_config":      refused("Arrow routes between adapters"),
		"kasa_config":       refused("KaSA changes the base"),
		"use_bdlora":        refused("BD-LoRA's factors are block-diagonal"),
		"velora_config":     refused("VeLoRA's file has tensors beside the factors"),
		"monteclora_config": refused("MonteCLoRA draws its factors at random"),
	})
	return k
}

// Why a key of many families is inert.
const (
	untilTrained = "how the adapter began, before training"
	inTraining   = "it acts in training alone"
	byLayer      = "PEFT corrects it by the layer it finds, and so does this"
)

// loraRecipe trains LoRA as kind says, B ratio times as fast as A.
func loraRecipe(name string, rate, ratio float64, kind lora, also ...string) Recipe {
	with := func(c *Choice) (root, decomposed bool) {
		return c.RSLoRA || kind.rootScaling, c.DoRA || kind.decomposed
	}
	return Recipe{
		Name: name, Also: also, Rate: rate, Ratio: ratio, Dropout: "lora_dropout", Check: loraCheck,
		Reads: []string{
			"r", "lora-alpha", "lora-dropout", "target-modules", "exclude-modules", "layers-to-transform", "top-layers", "rank-pattern", "alpha-pattern",
			"modules-to-save", "bias", "use-rslora", "use-dora", "init-lora-weights", "set",
			"loraplus-lr-ratio", "loraplus-lr-embedding", "loraplus-weight-decay",
		},
		Values: func(m models.Model, c *Choice) map[string]any {
			root, decomposed := with(c)
			return loraValues(m, c, root, decomposed)
		},
		Kinds: func(c *Choice) []string {
			switch root, decomposed := with(c); {
			case decomposed:
				return []string{"dora"}
			case root:
				return []string{"rslora"}
			case ratio > 0:
				return []string{"lora", "rslora", "dora", "alora"}
			}
			return []string{"lora", "alora"}
		},
	}
}

func loraValues(m models.Model, c *Choice, root, decomposed bool) map[string]any {
	r, alpha := c.rank(), c.alpha()
	if fromBase(c.Start) { // saved converted: see Start
		r, alpha = 2*r, 2*alpha
		if root {
			alpha /= math.Sqrt2
		}
	}
	start := any(true)
	if c.Start == "gaussian" {
		start = "gaussian"
	}
	// PEFT wants dictionaries, empty ones too.
	ranks, alphas := map[string]int{}, map[string]float64{}
	for module, own := range c.RankPattern {
		ranks[module] = own * (r / c.rank())
	}
	for module, own := range c.AlphaPattern {
		alphas[module] = own * (alpha / c.alpha())
	}
	values := map[string]any{
		"peft_type": "LORA", "r": r, "lora_alpha": alpha, "lora_dropout": c.Dropout, "bias": c.biases(),
		"use_rslora": root, "use_dora": decomposed, "init_lora_weights": start, "fan_in_fan_out": turned(m),
		"rank_pattern": ranks, "alpha_pattern": alphas,
	}
	if layers := c.layers(m); len(layers) > 0 {
		values["layers_to_transform"] = layers
	}
	c.target(values)
	return values
}

func loraCheck(m models.Model, c *Choice) error {
	if err := checkLayers(m, c); err != nil {
		return err
	}
	if c.biases() != "none" && !biased(m) {
		return fmt.Errorf("--bias %s: the base has no biases to train", c.Bias)
	}
	return nil
}

type lora struct {
	targets      targets
	r            int
	alpha        float64
	ranks        patterns
	alphas       patterns
	rootScaling  bool // rsLoRA: alpha/√r
	decomposed   bool // DoRA
	biasB        bool // lora_B has a bias
	bias         string
	tie          bool // ensure_weight_tying
	saved        []string
	tokenIndices tokenIndices
	invoked      []int32 // the tokens from which on it acts (aLoRA, Greenewald et al., 2025); nil: everywhere
}

// starts are the names that init_lora_weights takes, and whether they leave
// the base as it is; the others subtract their start from it, so that an
// adapter saved without conversion is only right on that changed base
// (peft/tuners/lora/layer.py).
var starts = map[string]bool{
	"gaussian": true, "eva": true, "orthogonal": true, "mica": true,
	"pissa": false, "olora": false, "corda": false, "loftq": false, "lora_ga": false,
}

// start reads init_lora_weights: true, false or a name.
func (s *settings) start() {
	raw := s.raw("init_lora_weights")
	if raw == nil || aFlag.is(raw) {
		return
	}
	var name string
	if json.Unmarshal(raw, &name) == nil {
		name = strings.ToLower(name)
	}
	if strings.HasPrefix(name, "pissa_niter_") {
		name = "pissa"
	}
	switch unchanged, ok := starts[name]; {
	case !ok:
		s.fault(ErrConfig, "init_lora_weights is %s, which is not known: it may change the base", clip(raw))
	case !unchanged:
		s.fault(ErrBase, "init_lora_weights is %s, which changes the base: save the adapter converted to LoRA (path_initial_model_for_weight_conversion)", raw)
	}
}

func parseLoRA(s *settings) Method {
	l := &lora{
		targets: s.targets("LORA", models.LinearSite, models.EmbeddingSite),
		r:       s.count("r", 8), alpha: s.number("lora_alpha", 8),
		ranks: s.patterns("rank_pattern"), alphas: s.patterns("alpha_pattern"),
		rootScaling: s.flag("use_rslora", false), decomposed: s.flag("use_dora", false), biasB: s.flag("lora_bias", false),
		bias: s.bias(), tie: s.flag("ensure_weight_tying", false),
		saved: s.list("modules_to_save"), tokenIndices: s.tokenIndices("trainable_token_indices"),
	}
	if !(l.alpha > 0 && l.alpha <= 1<<24) {
		s.fault(ErrConfig, "lora_alpha is %v", l.alpha)
	}
	if l.biasB && l.decomposed {
		s.fault(ErrConfig, "lora_bias does not go with use_dora")
	}
	s.start()
	l.invocation(s)
	return l
}

// invocation reads alora_invocation_tokens. What PEFT leaves in place before
// them, beside the factors, is not implemented.
func (l *lora) invocation(s *settings) {
	if s.raw("alora_invocation_tokens") == nil {
		return
	}
	if s.config.Task != string(models.Generate) {
		s.fault(ErrConfig, "alora_invocation_tokens with task_type %q is without effect in PEFT: write %q", s.config.Task, models.Generate)
	}
	tokens := s.integers("alora_invocation_tokens")
	for _, t := range tokens {
		if t < 0 || t > math.MaxInt32 {
			s.fault(ErrConfig, "alora_invocation_tokens has %d, which is no token", t)
		}
		l.invoked = append(l.invoked, int32(t))
	}
	if tokens != nil && len(tokens) == 0 {
		s.fault(ErrConfig, "alora_invocation_tokens is empty: name some, or write null")
	}
	for _, beside := range []struct {
		key string
		on  bool
	}{
		{"use_dora", l.decomposed}, {"modules_to_save", len(l.saved) > 0}, {"bias", l.bias != "none"}, {"trainable_token_indices", len(l.tokenIndices) > 0},
	} {
		if beside.on {
			s.fault(ErrConfig, "%s with alora_invocation_tokens is not implemented: it would act before them", beside.key)
		}
	}
}

func (l *lora) Name() string {
	switch {
	case len(l.invoked) > 0:
		return "alora"
	case l.decomposed:
		return "dora"
	case l.rootScaling:
		return "rslora"
	}
	return "lora"
}

func (l *lora) modules() *targets { return &l.targets }

func (l *lora) Rank() int {
	r := float64(l.r)
	for _, p := range l.ranks {
		r = max(r, p.value)
	}
	return int(r)
}

func (l *lora) Build(b *Builder) error {
	sites, adapted, err := b.place(&l.targets, l.tie)
	if err != nil {
		return err
	}
	if n, context := len(l.invoked), b.Model.Config().Context; n >= context {
		return fmt.Errorf("%w: alora_invocation_tokens has %d tokens, which fill the base's context of %d", ErrBase, n, context)
	}
	for _, t := range l.invoked {
		if int(t) >= b.vocabulary {
			return fmt.Errorf("%w: alora_invocation_tokens has %d, outside the vocabulary of %d", ErrBase, t, b.vocabulary)
		}
	}
	b.invocation = l.invoked
	var modules []string
	ranks, alphas := map[string]bool{}, map[string]bool{} // the patterns that counted
	for _, site := range sites {
		modules = append(modules, b.Sites[site].Name)
		if l.tie && b.tied(site) >= 0 {
			return fmt.Errorf("%w: ensure_weight_tying with %q in target_modules is not implemented", ErrConfig, b.Sites[site].Name)
		}
		scaled, err := l.rank(b.Sites[site].Name)
		if err != nil {
			return err
		}
		ranks[scaled.rank.expr], alphas[scaled.alpha.expr] = true, true
		if b.Sites[site].Kind == models.EmbeddingSite && len(l.invoked) > 0 {
			return fmt.Errorf("%w: aLoRA on %q: PEFT has none on embeddings", ErrTarget, b.Sites[site].Name)
		}
		if b.Sites[site].Kind == models.EmbeddingSite {
			err = l.embedding(b, site, scaled)
		} else {
			l.linear(b, site, scaled)
		}
		if err != nil {
			return err
		}
	}
	key, expr, err := l.idlePattern(modules, ranks, alphas)
	if err != nil {
		return err
	}
	if key != "" {
		return fmt.Errorf("%w: %s has %q, which matches no adapted module", ErrTarget, key, expr)
	}
	if err := b.ownTokens(l.tokenIndices, l.tie, adapted); err != nil {
		return err
	}
	if len(l.invoked) == 0 {
		b.wholeEmbeddings(adapted)
	}
	return b.ownBiases(l.bias, adapted)
}

// unmatched is of rank_pattern and alpha_pattern: see Unmatched.
func (l *lora) unmatched(m models.Model) (key, entry string, err error) {
	adapted, err := l.targets.find(m)
	if err != nil {
		return "", "", err
	}
	var modules []string
	for _, site := range adapted {
		modules = append(modules, m.Sites()[site].Name)
	}
	return l.idlePattern(modules, nil, nil)
}

// idlePattern returns a key and its first entry that matches none of the
// adapted modules, where PEFT would pass it over; ranks and alphas are entries
// that are known to match one. Both are empty if there is none.
func (l *lora) idlePattern(modules []string, ranks, alphas map[string]bool) (key, expr string, err error) {
	if expr, err = l.ranks.idle(modules, ranks); expr != "" || err != nil {
		return "rank_pattern", expr, err
	}
	if expr, err = l.alphas.idle(modules, alphas); expr != "" || err != nil {
		return "alpha_pattern", expr, err
	}
	return "", "", nil
}

// scaling is the rank and the alpha of a module, from the patterns or from r
// and lora_alpha, whose expr is empty.
type scaling struct {
	rank, alpha keyed
	r           int
	s           float64 // alpha/r, or alpha/√r
}

// stated says where the rank comes from.
func (s scaling) stated() string {
	if s.rank.expr == "" {
		return fmt.Sprintf("r=%d", s.r)
	}
	return fmt.Sprintf("rank_pattern[%q]=%d", s.rank.expr, s.r)
}

// rank returns the scaling of a module.
func (l *lora) rank(module string) (s scaling, err error) {
	if s.rank, err = l.ranks.find(module, keyed{value: float64(l.r)}); err != nil {
		return s, err
	}
	r := s.rank.value
	if r != math.Trunc(r) {
		return s, fmt.Errorf("%w: rank_pattern gives %q the rank %v", ErrConfig, module, r)
	}
	if s.alpha, err = l.alphas.find(module, keyed{value: l.alpha}); err != nil {
		return s, err
	}
	s.r, s.s = int(r), s.alpha.value/r
	if l.rootScaling {
		s.s = s.alpha.value / math.Sqrt(r)
	}
	return s, nil
}

// Invocation is the tokens from which on an aLoRA acts; nil of any other.
func (c *Config) Invocation() []int32 {
	if l, ok := c.Method.(*lora); ok {
		return l.invoked
	}
	return nil
}

// Scaling is the rank and the factor on B·A that a LoRA's configuration gives a
// module; false where the configuration is no LoRA's.
func (c *Config) Scaling(module string) (rank int, scale float64, ok bool, err error) {
	l, ok := c.Method.(*lora)
	if !ok {
		return 0, 0, false, nil
	}
	s, err := l.rank(module)
	return s.r, s.s, true, err
}

// Adapts reports whether a LoRA's configuration names a module; known is false
// where the base alone can tell, and where the configuration is no LoRA's.
func (c *Config) Adapts(module string) (named, known bool, err error) {
	l, ok := c.Method.(*lora)
	if !ok || l.targets.include.empty() || l.targets.include.allLinear() {
		return false, false, nil
	}
	named, err = l.targets.include.match(module, nil)
	if err == nil && named {
		named, err = l.targets.keeps(module, l.targets.include.list != nil)
	}
	return named, true, err
}

// linear puts LoRA on a Linear; A and B have the same shapes on a Conv1D.
func (l *lora) linear(b *Builder, site int, m scaling) {
	base := b.Sites[site].Linear
	out, in := b.rows(site, base.W), base.W.Cols
	low := &lowRank{
		a: b.Module(site, endA, m.r, in).as(Down).rounds().states(0, m.stated(), "rank %d"),
		b: b.Transposed(site, endB, out, m.r).as(Up).rounds().states(1, m.stated(), "rank %d"), scale: float32(m.s),
	}
	low.a.factor, low.b.factor = true, true
	s := b.Sites[site]
	low.a.starts(func(v kernels.Matrix, d drawn) error {
		if fromBase(d.start) {
			return factorise(s, d.start, low)
		}
		startA(v, d.source, d.start)
		return nil
	})
	d := b.linear(site)
	if l.biasB {
		d.addTo(b.Module(site, ".lora_B.bias", out), float32(m.s))
	}
	if !l.decomposed {
		d.deltas = append(d.deltas, low)
		return
	}
	g := &gains{low: low, magnitude: b.Module(site, endMagnitude, out).as(Magnitude), gain: b.Derive(out)}
	g.weight = func() kernels.Weight { return d.weightOr(base.W) }
	d.deltas = append(d.deltas, g)
	b.OnRefresh(g.refresh)
	b.OnStart(func() { startMagnitude(g.magnitude, g.gain, g.refresh) })
}

// embedding puts LoRA on an Embedding.
func (l *lora) embedding(b *Builder, site int, m scaling) error {
	base := b.Sites[site].Embedding
	if l.biasB {
		return fmt.Errorf("%w: lora_bias with the embedding %q is not implemented", ErrConfig, b.Sites[site].Name)
	}
	low := &embeddingLoRA{
		a:     b.Transposed(site, endEmbeddingA, m.r, b.rows(site, base.W)).as(Down).rounds().states(0, m.stated(), "rank %d"),
		b:     b.Transposed(site, endEmbeddingB, base.W.Cols, m.r).as(Up).rounds().states(1, m.stated(), "rank %d").startsNormal(),
		scale: float32(m.s),
	}
	d := b.embedding(site)
	d.low = append(d.low, low)
	if l.decomposed {
		low.gain = b.Derive(base.W.Cols)
		low.magnitude = b.Module(site, endMagnitude, base.W.Cols).as(Magnitude)
		g := &embeddingGains{low: low, magnitude: low.magnitude}
		g.table = func() kernels.Weight {
			if d.table.replaces() {
				return d.table.Weight
			}
			return base.W
		}
		b.OnRefresh(g.refresh)
		b.OnStart(func() { startMagnitude(g.magnitude, low.gain, g.refresh) })
	}
	return nil
}
