package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// families are those of the adapters that classify in a bench: a head alone, and heads
// beside BitFit and LoRA.
var families = []string{"heads", "bitfit", "lora"}

// headedName is what the i-th of a family is called.
func headedName(family string, i int) string { return fmt.Sprintf("bench-%s-%d", family, i) }

// headed are the names of each family's adapters.
func (b *benchCommand) headed() map[string][]string {
	names := map[string][]string{}
	for _, family := range families {
		for i := range b.Adapters {
			names[family] = append(names[family], headedName(family, i))
		}
	}
	return names
}

// writeHeaded makes random adapters of each family with a head of one linear and two
// classes, as folders.
func (b *benchCommand) writeHeaded(m models.Model, dir string) error {
	for f, family := range families {
		for i := range b.Adapters {
			if err := b.writeOneHeaded(m, family, filepath.Join(dir, headedName(family, i)), rand.NewPCG(uint64(b.Seed), uint64(i*len(families)+f)+1)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *benchCommand) writeOneHeaded(m models.Model, family, folder string, source rand.Source) error {
	a, err := b.randomHeaded(m, family, source)
	if err != nil {
		return err
	}
	return a.Save(folder)
}

// randomHeaded makes one. Nothing about its speed depends on the values.
func (b *benchCommand) randomHeaded(m models.Model, family string, source rand.Source) (*adapters.Adapter, error) {
	form := &models.HeadForm{Layers: 1, Bias: true}
	values := map[string]any{"peft_type": "LORA", "task_type": string(models.Classify), "modules_to_save": form.Modules(), "target_modules": "dummy-target-modules", "base_model_name_or_path": ""}
	switch family {
	case "bitfit":
		values["peft_type"], values["target_modules"] = "BITFIT", nil
	case "lora":
		values["r"], values["lora_alpha"], values["target_modules"] = b.Rank, b.Rank, b.Targets
		if len(b.Targets) == 0 {
			values["target_modules"] = usualTargets(m)
		}
	}
	config, err := adapters.NewConfig(values)
	if err != nil {
		return nil, err
	}
	config.Classes = &models.Classes{Names: models.ClassNames(2), Form: form}
	a, err := adapters.New(m, config)
	if err != nil {
		return nil, err
	}
	random, scale := rand.New(source), 0.02/math.Sqrt(float64(b.Rank))
	for _, p := range a.Params() {
		values := p.Values()
		for r := range values.Rows {
			row := values.Row(r)
			for c := range row {
				row[c] += float32(random.NormFloat64() * scale)
			}
		}
	}
	return a, nil
}
