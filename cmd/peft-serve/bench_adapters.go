package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// writeAdapters makes random LoRA adapters as PEFT folders. Nothing about
// their speed depends on the values, which are small so that the base's
// answers stay sane.
func (b *benchCommand) writeAdapters(m models.Model, dir string) ([]string, error) {
	targets := b.Targets
	if len(targets) == 0 {
		targets = usualTargets(m)
	}
	config, err := adapters.NewConfig(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": b.Rank, "lora_alpha": b.Rank,
		"target_modules": targets, "fan_in_fan_out": hasConv1D(m), "inference_mode": true, "base_model_name_or_path": "",
	})
	if err != nil {
		return nil, err
	}
	names := make([]string, b.Adapters)
	for i := range names {
		names[i] = fmt.Sprintf("bench-%d", i)
		a, err := adapters.New(m, config)
		if err != nil {
			return nil, err
		}
		random := rand.New(rand.NewPCG(uint64(b.Seed), uint64(i)+1))
		for _, p := range a.Params() {
			scale := 0.02 / math.Sqrt(float64(b.Rank))
			for r := range p.Values().Rows {
				for c := range p.Values().Row(r) {
					p.Values().Row(r)[c] = float32(random.NormFloat64() * scale)
				}
			}
		}
		if err := a.Save(filepath.Join(dir, names[i])); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// usualTargets are the projections of queries and values, or what holds them.
func usualTargets(m models.Model) []string {
	found := map[string]bool{}
	for _, s := range m.Sites() {
		if s.Kind == models.LinearSite {
			found[s.Module()] = true
		}
	}
	for _, targets := range [][]string{{"q_proj", "v_proj"}, {"query", "value"}, {"c_attn"}, {"query_key_value"}} {
		if found[targets[0]] {
			return targets
		}
	}
	return []string{"all-linear"}
}

func hasConv1D(m models.Model) bool {
	for _, s := range m.Sites() {
		if s.Conv1D {
			return true
		}
	}
	return false
}
