package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// made are the configurations of the adapters that any base can have.
var made = map[string]map[string]any{
	"lora":       {"peft_type": "LORA", "r": 4, "target_modules": "all-linear"},
	"rslora":     {"peft_type": "LORA", "r": 8, "use_rslora": true, "target_modules": "all-linear"},
	"dora":       {"peft_type": "LORA", "r": 4, "use_dora": true, "target_modules": "all-linear"},
	"ia3":        {"peft_type": "IA3"},
	"prefix":     {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5},
	"prompt":     {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4},
	"vera":       {"peft_type": "VERA", "r": 8},
	"miss":       {"peft_type": "MISS", "r": 4},
	"bitfit":     {"peft_type": "BITFIT"},
	"ln-tuning":  {"peft_type": "LN_TUNING"},
	"bottleneck": {"peft_type": "BOTTLENECK", "mh_adapter": true, "output_adapter": true, "reduction_factor": 16},
	"seq-cls":    {"peft_type": "LORA", "r": 4, "task_type": "SEQ_CLS", "modules_to_save": []string{"classifier", "score"}, "target_modules": "all-linear"},
	"token-cls":  {"peft_type": "IA3", "task_type": "TOKEN_CLS", "modules_to_save": []string{"classifier", "score"}},
	"late":       {"peft_type": "LORA", "r": 4},
	"late-cls":   {"peft_type": "LORA", "r": 4, "task_type": "SEQ_CLS", "modules_to_save": []string{"classifier", "score"}},
	"many-cls":   {"peft_type": "LORA", "r": 2, "task_type": "SEQ_CLS", "modules_to_save": []string{"classifier", "score"}, "target_modules": "all-linear"},
}

// classesMade is how many classes the heads of those tell apart that have one.
var classesMade = map[string]int{"seq-cls": 3, "token-cls": 5, "many-cls": 77, "late-cls": 4}

// makeAdapters makes an adapter of each family in dir, none of which is without
// effect: those of some names, or all. What does not fit the base is left out.
func makeAdapters(base, dir string, names ...string) error {
	m, source, err := models.Open(base, models.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	for name, config := range made {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		if strings.HasPrefix(name, "late") { // what is below it is the base's
			config = maps.Clone(config)
			config["layers_to_transform"] = []int{m.Config().Layers - 1}
		}
		c, err := adapters.NewConfig(config)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n := classesMade[name]; n > 0 {
			c.Classes = &models.Classes{Names: models.ClassNames(n)}
		}
		a, err := adapters.New(m, c)
		if errors.Is(err, adapters.ErrTarget) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, p := range a.Params() {
			values := p.Values().Data
			for i := range values {
				values[i] += 0.01 * float32(i*7%11-5)
			}
		}
		a.Refresh()
		if err := a.Save(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
