package adapters

import (
	"github.com/peft-serve/peft-serve/models"
)

// LayerNorm tuning (Zhao et al., 2023), as peft/tuners/ln_tuning saves it: the
// norms, or other modules that are named, are the adapter's own.

func init() {
	register(family{
		peftType: "LN_TUNING", parse: parseLNTuning,
		defaults: `{"exclude_modules": null, "target_modules": null}`,
		keys: keys{
			"target_modules": read(), "exclude_modules": read(), "modules_to_save": read(),
		},
		tensors: []string{"ln_tuning_layers"},
		recipes: []Recipe{{
			Name: "ln-tuning", Rate: 1e-3, Reads: []string{"target-modules", "exclude-modules", "modules-to-save", "set"},
			Values: func(_ models.Model, c *Choice) map[string]any {
				values := map[string]any{"peft_type": "LN_TUNING"}
				c.target(values)
				return values
			},
		}},
	})
}

type lnTuning struct {
	targets targets
}

func parseLNTuning(s *settings) Method {
	return &lnTuning{
		targets: s.targets("LN_TUNING", models.NormSite, models.LinearSite, models.EmbeddingSite),
	}
}

func (m *lnTuning) Name() string      { return "ln-tuning" }
func (m *lnTuning) Rank() int         { return 0 }
func (m *lnTuning) modules() *targets { return &m.targets }

func (m *lnTuning) Build(b *Builder) error {
	sites, _, err := b.place(&m.targets, false)
	if err != nil {
		return err
	}
	for _, site := range sites {
		b.saveSite(site, ".ln_tuning_layers")
	}
	return nil
}
