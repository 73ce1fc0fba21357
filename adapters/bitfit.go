package adapters

import (
	"errors"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/models"
)

// BitFit (Ben Zaken et al., 2022): the biases of Linear modules and norms are
// the adapter's own. The folder is ours, in PEFT's manner: peft_type BITFIT,
// target_modules null for every bias or the modules whose biases were trained,
// tensors "base_model.model.<module>.bias" in the base's place.

func init() {
	register(family{
		peftType: "BITFIT", ours: true, parse: parseBitFit,
		keys: keys{
			"target_modules": read(), "exclude_modules": read(), "modules_to_save": read(),
			"layers_to_transform": read(), "layers_pattern": read(),
		},
		recipes: []Recipe{{
			Name: "bitfit", Rate: 1e-3, Reads: []string{"target-modules", "exclude-modules", "top-layers", "modules-to-save", "zero-biases", "set"},
			Kinds:  func(*Choice) []string { return []string{"bitfit", "beft"} },
			Values: bitFitValues, Check: bitFitCheck,
		}},
	})
}

// bitFitValues trains the base's biases; with --zero-biases, on a base that
// has none, biases that PEFT calls BEFT.
func bitFitValues(m models.Model, c *Choice) map[string]any {
	if !c.ZeroBiases || turned(m) { // GPT-2 has them all
		values := map[string]any{"peft_type": "BITFIT"}
		if layers := c.layers(m); len(layers) > 0 {
			values["layers_to_transform"] = layers
		}
		c.target(values)
		return values
	}
	values := map[string]any{"peft_type": "BEFT", "init_weights": true}
	c.target(values)
	if values["target_modules"] == nil {
		values["target_modules"] = allLinear
	}
	return values
}

func bitFitCheck(m models.Model, c *Choice) error {
	if !c.ZeroBiases && !biased(m) {
		return errors.New("--method bitfit: the base has no biases to train; --zero-biases gives its Linear modules biases that begin as zero")
	}
	if c.ZeroBiases && !turned(m) && c.TopLayers > 0 {
		return errors.New("--top-layers does not go with --zero-biases: PEFT's BEFT has no layers_to_transform")
	}
	return checkLayers(m, c)
}

type bitFit struct {
	targets targets
	saved   []string
}

func parseBitFit(s *settings) Method {
	return &bitFit{targets: s.targets("", models.LinearSite, models.NormSite), saved: s.list("modules_to_save")}
}

func (m *bitFit) Name() string { return "bitfit" }
func (m *bitFit) Rank() int    { return 0 }

func (m *bitFit) modules() *targets { return &m.targets }

func (m *bitFit) Build(b *Builder) error {
	if err := m.targets.layersOf(b.Model); err != nil {
		return err
	}
	var sites []int
	if m.targets.include.empty() {
		for i, s := range b.Sites {
			keep, err := m.targets.keeps(s.Name, true)
			if err != nil {
				return err
			}
			if keep {
				sites = append(sites, i)
			}
		}
	} else {
		var err error
		if sites, err = m.targets.find(b.Model); err != nil {
			return err
		}
	}
	if err := b.save(m.saved, false); err != nil {
		return err
	}
	sites = slices.DeleteFunc(sites, func(site int) bool { return b.wholly(site) })
	found := false
	for _, site := range sites {
		s := b.Sites[site]
		switch {
		case s.Kind == models.LinearSite && len(s.Linear.Bias) > 0:
			b.linear(site).own = b.standIn(site, ".bias", s.Linear.Bias)
		case s.Kind == models.NormSite && len(s.Norm.Bias) > 0:
			b.norm(site).bias = b.standIn(site, ".bias", s.Norm.Bias)
		case !m.targets.include.empty():
			return fmt.Errorf("%w: %q has no bias", ErrTarget, s.Name)
		default:
			continue
		}
		found = true
	}
	if !found && m.targets.include.expr != noModules {
		return fmt.Errorf("%w: the base has no biases for BitFit to replace", ErrTarget)
	}
	return nil
}
