package adapters

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Bottleneck adapters (Houlsby et al., 2019; Pfeiffer et al., 2020; parallel:
// He et al., 2021) with the keys of AdapterHub's BnConfig. The folder is ours,
// in PEFT's manner: peft_type BOTTLENECK, tensors
// "base_model.model.<sublayer>.adapter_down.weight" and so on.

func init() {
	register(family{
		peftType: "BOTTLENECK", ours: true, parse: parseBottleneck,
		keys: keys{
			"mh_adapter": read(), "output_adapter": read(), "reduction_factor": read(), "leave_out": read(), "modules_to_save": read(),
			"is_parallel": read(), "original_ln_before": read(), "original_ln_after": read(), "ln_before": read(), "ln_after": read(),
			"residual_before_ln": read(), "adapter_residual_before_ln": read(), "non_linearity": read(), "scaling": read(),
			"dropout": inert(aNumber, inTraining), "init_weights": inert(aText, untilTrained),
			"inv_adapter_reduction_factor": inert(aNumber, "inv_adapter is refused"),
			"use_gating":                   refused("a gate scales each bottleneck"),
			"phm_layer":                    refused("its weights are Kronecker products"),
			"inv_adapter":                  refused("an invertible adapter changes the embedding"),
			"cross_adapter":                refused("the base has no cross attention"),
			"stochastic_depth":             refused("it drops bottlenecks at random"),
		},
		tensors: []string{"adapter_down", "adapter_up", "adapter_norm_before", "adapter_norm_after", "scaling"},
		recipes: []Recipe{
			hubRecipe("houlsby", hubConfig{attention: true, reduction: 16, act: "swish", scaling: 1, start: "bert"}),
			hubRecipe("pfeiffer", hubConfig{seesSum: true, reduction: 16, act: "relu", scaling: 1, start: "bert"}),
			hubRecipe("parallel", hubConfig{parallel: true, reduction: 2, act: "relu", scaling: 4, start: "mam_adapter"}),
		},
	})
}

// hubConfig is one of AdapterHub's configurations: DoubleSeqBnConfig,
// SeqBnConfig, ParBnConfig.
type hubConfig struct {
	attention bool // after the attention too
	parallel  bool
	seesSum   bool // reads output and residual
	reduction float64
	act       string
	scaling   float64
	start     string // init_weights
}

func hubRecipe(name string, h hubConfig) Recipe {
	return Recipe{
		Name: name, Rate: 3e-4, Dropout: "dropout", Values: h.values, Check: checkDrop,
		Reads: []string{
			"lora-dropout", "modules-to-save", "reduction-factor", "non-linearity", "scaling", "init-weights", "adapter-drop", "adapter-drop-random", "top-layers", "set",
		},
	}
}

func (h hubConfig) values(m models.Model, c *Choice) map[string]any {
	none := c.AdapterDrop
	if top := c.layers(m); top != nil {
		none = top[0]
	}
	drop := make([]int, none)
	for i := range drop {
		drop[i] = i
	}
	return map[string]any{
		"peft_type": "BOTTLENECK", "mh_adapter": h.attention, "output_adapter": true, "is_parallel": h.parallel,
		"reduction_factor": cmp.Or(c.Reduction, h.reduction), "scaling": cmp.Or(c.Scaling, h.scaling), "non_linearity": cmp.Or(c.NonLinearity, h.act),
		"original_ln_before": h.seesSum, "original_ln_after": true, "ln_before": false, "ln_after": false,
		"residual_before_ln": true, "adapter_residual_before_ln": false, "dropout": c.Dropout, "init_weights": cmp.Or(c.InitWeights, h.start),
		"leave_out": drop,
	}
}

func checkDrop(m models.Model, c *Choice) error {
	layers := m.Config().Layers
	if c.TopLayers > 0 && c.AdapterDrop > 0 {
		return errors.New("--top-layers and --adapter-drop both say which blocks have bottlenecks: give one")
	}
	if err := checkLayers(m, c); err != nil {
		return err
	}
	if c.AdapterDrop >= layers {
		return fmt.Errorf("--adapter-drop: %d would leave no adapter in %d blocks", c.AdapterDrop, layers)
	}
	if c.AdapterDropMax >= layers {
		return fmt.Errorf("--adapter-drop-random: %d would leave no adapter in %d blocks", c.AdapterDropMax, layers)
	}
	return nil
}

type bottleneck struct {
	attention, mlp bool // mh_adapter, output_adapter
	reduction      map[string]float64
	act            kernels.Activation
	scaling        float64
	learned        string // "", "learned" or "channel"
	leaveOut       []int
	saved          []string
	bottleneckShape
}

// bottleneckShape says what goes into a bottleneck and what is added to it.
type bottleneckShape struct {
	parallel       bool // reads the residual beside the sublayer, not its output
	residualIn     bool // original_ln_before: reads output and residual, summed and, where the base does so, normed
	residualOut    bool // original_ln_after: the residual is added in the end
	normIn         bool // ln_before
	normOut        bool // ln_after
	skipOutput     bool // residual_before_ln: skips with the output alone
	skipBeforeNorm bool // adapter_residual_before_ln
}

// Placement names what the literature calls bottlenecks in these places:
// houlsby, pfeiffer or parallel.
func (m *bottleneck) Placement() string {
	switch {
	case m.parallel:
		return "parallel"
	case m.attention:
		return "houlsby"
	}
	return "pfeiffer"
}

func parseBottleneck(s *settings) Method {
	m := &bottleneck{
		attention: s.flag("mh_adapter", false), mlp: s.flag("output_adapter", true),
		reduction: s.reduction("reduction_factor"), leaveOut: s.integers("leave_out"),
		saved: s.list("modules_to_save"),
		bottleneckShape: bottleneckShape{
			parallel: s.flag("is_parallel", false), residualIn: s.flag("original_ln_before", false),
			residualOut: s.flag("original_ln_after", true), normIn: s.flag("ln_before", false), normOut: s.flag("ln_after", false),
			skipOutput: s.flag("residual_before_ln", true), skipBeforeNorm: s.flag("adapter_residual_before_ln", false),
		},
	}
	name := s.text("non_linearity", "relu")
	act, ok := kernels.ActivationByName(name)
	if !ok {
		s.fault(ErrConfig, "non_linearity %q is not implemented", name)
	}
	m.act = act
	m.scaling = 1
	if raw := s.raw("scaling"); raw != nil && raw[0] == '"' {
		m.learned = s.text("scaling", "")
		if m.learned != "learned" && m.learned != "channel" {
			s.fault(ErrConfig, "scaling is %q, want a number, learned or channel", m.learned)
		}
	} else {
		m.scaling = s.number("scaling", 1)
	}
	if !m.attention && !m.mlp {
		s.fault(ErrConfig, "neither mh_adapter nor output_adapter is true")
	}
	return m
}

// reduction reads one factor, under "default", or factors by layer.
func (s *settings) reduction(key string) map[string]float64 {
	factors := map[string]float64{}
	raw := s.raw(key)
	var one float64
	switch {
	case raw == nil:
		s.fault(ErrConfig, "%s is missing", key)
	case json.Unmarshal(raw, &one) == nil:
		factors["default"] = one
	case json.Unmarshal(raw, &factors) != nil:
		s.fault(ErrConfig, "%s is %s, want a number or numbers by layer", key, clip(raw))
	}
	for layer, f := range factors {
		if !(f > 0) {
			s.fault(ErrConfig, "%s of %s is %v", key, layer, f)
		}
	}
	return factors
}

func (m *bottleneck) Name() string { return "bottleneck" }
func (m *bottleneck) Rank() int    { return 0 }

func (m *bottleneck) Build(b *Builder) error {
	if err := b.save(m.saved, false); err != nil {
		return err
	}
	found, nth := false, map[int]int{} // sublayers seen, by layer
	for site, s := range b.Sites {
		if s.Kind != models.SublayerSite {
			continue
		}
		second := nth[s.Layer] > 0
		nth[s.Layer]++
		if second && !m.mlp || !second && !m.attention || slices.Contains(m.leaveOut, s.Layer) {
			continue
		}
		f, ok := m.reduction[strconv.Itoa(s.Layer)]
		if !ok {
			f, ok = m.reduction["default"]
		}
		if !ok {
			return fmt.Errorf("%w: reduction_factor has neither layer %d nor a default", ErrConfig, s.Layer)
		}
		if s.Norm != nil && !m.residualOut {
			return fmt.Errorf("%w: original_ln_after is false, which is not implemented of a base with a norm after the sum", ErrBase)
		}
		hidden := b.Model.Config().Hidden
		m.insert(b, site, hidden, max(1, int(math.Floor(float64(hidden)/f))))
		found = true
	}
	if !found {
		return fmt.Errorf("%w: leave_out leaves no layer", ErrTarget)
	}
	return nil
}

func (m *bottleneck) insert(b *Builder, site, hidden, down int) {
	init := strings.Trim(string(b.Config.value("init_weights")), `"`)
	in := &insert{
		bottleneckShape: m.bottleneckShape, act: m.act, scaling: float32(m.scaling), sum: b.normAfter(site),
		down: b.Module(site, ".adapter_down.weight", down, hidden).as(Down).rounds().startsBy(init, false),
		up:   b.Module(site, ".adapter_up.weight", hidden, down).as(Up).rounds().startsBy(init, true),
	}
	var downBias, upBias, factor *Param
	downBias, in.downBias = b.vector(site, ".adapter_down.bias", down)
	upBias, in.upBias = b.vector(site, ".adapter_up.bias", hidden)
	switch m.learned {
	case "learned":
		factor, in.factor = b.vector(site, ".scaling", 1)
		factor.startsAsOnes()
	case "channel":
		factor, in.factor = b.vector(site, ".scaling", hidden)
		factor.startsAsOnes()
	}
	if m.normIn {
		in.before = b.layerNorm(site, ".adapter_norm_before", hidden)
	}
	if m.normOut {
		in.after = b.layerNorm(site, ".adapter_norm_after", hidden)
	}
	b.inserts[site] = in
	b.OnTrain(func() {
		in.downBiasGrad, in.upBiasGrad, in.factorGrad = downBias.vectorGrad(), upBias.vectorGrad(), factor.vectorGrad()
	})
}

// startsBy draws a bottleneck's matrix by init_weights (AdapterHub,
// methods/bottleneck.py): "bert" is N(0, 0.02²), "mam_adapter" as LoRA's A and,
// for the one that leads up, zero, "houlsby" a normal of deviation 0.01 truncated
// at two deviations.
func (p *Param) startsBy(init string, up bool) *Param {
	return p.starts(func(v kernels.Matrix, d drawn) error {
		switch {
		case init == "houlsby":
			d.source.TruncatedNormal(v.Data, 0.01, 2)
		case init != "mam_adapter":
			d.source.Normal(v.Data, 0.02)
		case !up:
			startA(v, d.source, "default")
		}
		return nil
	})
}

// normAfter is the norm on the sum of a sublayer and the residual, the adapter's own
// where it brings one; nil: there is none.
func (b *Builder) normAfter(site int) *models.Norm {
	base := b.Sites[site].Norm
	if base == nil {
		return nil
	}
	if own := b.norms[base.Site]; own != nil {
		return &own.norm
	}
	return base
}

// vector declares a vector that the forward pass reads as float32.
func (b *Builder) vector(site int, suffix string, n int) (*Param, []float32) {
	p, v := b.Module(site, suffix, n), b.Derive(n)
	b.OnRefresh(func() { kernels.Decode(v, p.Weight.Format, p.Weight.Data) })
	return p, v
}

// layerNormEps is torch.nn.LayerNorm's.
const layerNormEps = 1e-5

func (b *Builder) layerNorm(site int, suffix string, n int) *models.Norm {
	norm := &models.Norm{Eps: layerNormEps}
	var weight, bias *Param
	weight, norm.Weight = b.vector(site, suffix+".weight", n)
	weight.startsAsOnes()
	bias, norm.Bias = b.vector(site, suffix+".bias", n)
	b.OnTrain(func() { norm.WeightGrad, norm.BiasGrad = weight.vectorGrad(), bias.vectorGrad() })
	return norm
}
