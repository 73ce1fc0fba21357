package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/models"
)

// BEFT, as peft/tuners/beft saves it: a vector added to a Linear's output,
// whether or not the base has a bias there.

func init() {
	register(family{
		peftType: "BEFT", parse: parseBEFT,
		defaults: `{"init_weights": true, "target_modules": null}`,
		keys: keys{
			"target_modules": read(), "modules_to_save": read(), "init_weights": inert(aFlag, untilTrained),
			"exclude_modules": read(), "layers_to_transform": read(), "layers_pattern": read(), // the trainer's, which PEFT passes over
		},
		tensors: []string{"beft_bias"},
	})
}

type beft struct {
	targets targets
}

func parseBEFT(s *settings) Method {
	m := &beft{targets: s.targets("BEFT", models.LinearSite)}
	m.targets.ourExclude = true
	return m
}

func (m *beft) Name() string { return "beft" }
func (m *beft) Rank() int    { return 0 }

func (m *beft) modules() *targets { return &m.targets }

func (m *beft) Build(b *Builder) error {
	sites, adapted, err := b.place(&m.targets, false)
	if err != nil {
		return err
	}
	for _, site := range sites {
		s := b.Sites[site]
		if s.Conv1D {
			return fmt.Errorf("%w: BEFT on %q, which is a Conv1D, is not implemented", ErrTarget, s.Name)
		}
		p := b.Module(site, ".beft_bias", 1, b.rows(site, s.Linear.W))
		b.linear(site).addTo(p, 1)
	}
	b.wholeEmbeddings(adapted)
	return nil
}
