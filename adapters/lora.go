package adapters

import (
	"fmt"
	"math"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// LoRA (Hu et al., 2021), rsLoRA (Kalajdzievski, 2023) and DoRA (Liu et al.,
// 2024), as peft/tuners/lora saves them.

func init() { register("LORA", parseLoRA) }

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
}

// unchangedBase lists the values of init_lora_weights that leave the base as
// it is; the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) subtract their
// start from it, so that an adapter saved without conversion is only right on
// that changed base (peft/tuners/lora/layer.py).
var unchangedBase = map[string]bool{"true": true, "false": true, "null": true, `"gaussian"`: true, `"eva"`: true, `"orthogonal"`: true, `"mica"`: true}

func parseLoRA(s *settings) Method {
	l := &lora{
		targets: s.targets(loraTargets),
		r:       s.count("r", 8), alpha: s.number("lora_alpha", 8),
		ranks: s.patterns("rank_pattern"), alphas: s.patterns("alpha_pattern"),
		rootScaling: s.flag("use_rslora", false), decomposed: s.flag("use_dora", false), biasB: s.flag("lora_bias", false),
		bias: s.text("bias", "none"), tie: s.flag("ensure_weight_tying", false),
		saved: s.list("modules_to_save"), tokenIndices: s.tokenIndices("trainable_token_indices"),
	}
	if !(l.alpha > 0 && l.alpha <= 1<<24) {
		s.fault(ErrConfig, "lora_alpha is %v", l.alpha)
	}
	if l.bias != "none" && l.bias != "all" && l.bias != "lora_only" {
		s.fault(ErrConfig, "bias is %q, want none, all or lora_only", l.bias)
	}
	if l.biasB && l.decomposed {
		s.fault(ErrConfig, "lora_bias does not go with use_dora")
	}
	if start := s.raw("init_lora_weights"); start != nil && !unchangedBase[strings.ToLower(string(start))] {
		s.fault(ErrBase, "init_lora_weights is %s, which changes the base: save the adapter converted to LoRA (path_initial_model_for_weight_conversion)", start)
	}
	s.inert("lora_dropout", "fan_in_fan_out", "megatron_core", "qalora_group_size", "runtime_config",
		"loftq_config", "eva_config", "corda_config", "lora_ga_config")
	s.refuse("use_qalora", "QALoRA pools its input")
	s.refuse("megatron_config", "the layers are Megatron's")
	s.refuse("layer_replication", "the base has replicated layers")
	s.refuse("alora_invocation_tokens", "activated LoRA begins in the middle of a sequence")
	s.refuse("target_parameters", "LoRA on parameters that are not modules")
	s.refuse("arrow_config", "Arrow routes between adapters")
	s.refuse("kasa_config", "KaSA changes the base")
	s.refuse("use_bdlora", "BD-LoRA's factors are block-diagonal")
	s.refuse("velora_config", "")
	s.refuse("monteclora_config", "")
	return l
}

func (l *lora) Name() string {
	switch {
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
	sites, err := l.targets.find(b.Model, models.LinearSite, models.EmbeddingSite)
	if err != nil {
		return err
	}
	if err := b.save(l.saved, l.tie); err != nil {
		return err
	}
	adapted := map[int]bool{}
	for _, site := range sites {
		adapted[site] = true
		if b.saved(site) {
			return fmt.Errorf("%w: %q is both in target_modules and in modules_to_save", ErrTarget, b.Sites[site].Name)
		}
		if l.tie && b.tied(site) >= 0 {
			return fmt.Errorf("%w: ensure_weight_tying with %q in target_modules is not implemented", ErrConfig, b.Sites[site].Name)
		}
		r, s, err := l.rank(b.Sites[site].Name)
		if err != nil {
			return err
		}
		if b.Sites[site].Kind == models.EmbeddingSite {
			err = l.embedding(b, site, r, s)
		} else {
			l.linear(b, site, r, s)
		}
		if err != nil {
			return err
		}
	}
	if err := b.ownTokens(l.tokenIndices, l.tie, adapted); err != nil {
		return err
	}
	b.wholeEmbeddings(adapted)
	return b.ownBiases(l.bias, adapted)
}

// rank returns r and the scaling of a module: alpha/r, or alpha/√r.
func (l *lora) rank(module string) (int, float32, error) {
	r, err := l.ranks.find(module, float64(l.r))
	if err != nil {
		return 0, 0, err
	}
	if r != math.Trunc(r) {
		return 0, 0, fmt.Errorf("%w: rank_pattern gives %q the rank %v", ErrConfig, module, r)
	}
	alpha, err := l.alphas.find(module, l.alpha)
	if err != nil {
		return 0, 0, err
	}
	if l.rootScaling {
		return int(r), float32(alpha / math.Sqrt(r)), nil
	}
	return int(r), float32(alpha / r), nil
}

// linear puts LoRA on a Linear; A and B have the same shapes on a Conv1D.
func (l *lora) linear(b *Builder, site, r int, s float32) {
	base := b.Sites[site].Linear
	out, in := base.W.Rows, base.W.Cols
	low := &lowRank{a: b.Module(site, ".lora_A.weight", r, in), b: b.Transposed(b.name(site, ".lora_B.weight"), out, r), scale: s}
	d := b.linear(site)
	if l.biasB {
		own := b.Module(site, ".lora_B.bias", out)
		d.terms = append(d.terms, func(bias []float32) { kernels.AddScaled(bias, s, own.vector()) })
	}
	if !l.decomposed {
		d.deltas = append(d.deltas, low)
		return
	}
	g := &gains{low: low, magnitude: b.Module(site, ".lora_magnitude_vector", out), gain: b.Derive(out)}
	g.weight = func() kernels.Weight { return d.weightOr(base.W) }
	d.deltas = append(d.deltas, g)
	b.OnRefresh(g.refresh)
}

// embedding puts LoRA on an Embedding.
func (l *lora) embedding(b *Builder, site, r int, s float32) error {
	base := b.Sites[site].Embedding
	if l.biasB {
		return fmt.Errorf("%w: lora_bias with the embedding %q is not implemented", ErrConfig, b.Sites[site].Name)
	}
	low := &embeddingLoRA{
		a:     b.Transposed(b.name(site, ".lora_embedding_A"), r, base.W.Rows),
		b:     b.Transposed(b.name(site, ".lora_embedding_B"), base.W.Cols, r),
		scale: s,
	}
	d := b.embedding(site)
	d.low = low
	if l.decomposed {
		low.gain = b.Derive(base.W.Cols)
		g := &embeddingGains{low: low, magnitude: b.Module(site, ".lora_magnitude_vector", base.W.Cols)}
		g.table = func() kernels.Weight {
			if d.table.replaces() {
				return d.table.Weight
			}
			return base.W
		}
		b.OnRefresh(g.refresh)
	}
	return nil
}
