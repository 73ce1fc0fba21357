package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// writeAdapters makes random LoRA adapters as PEFT folders.
func (b *benchCommand) writeAdapters(m models.Model, dir string) ([]string, error) {
	names := make([]string, b.Adapters)
	for i := range names {
		names[i] = fmt.Sprintf("bench-%d", i)
		a, err := randomLoRA(m, b.Rank, b.Targets, rand.NewPCG(uint64(b.Seed), uint64(i)+1))
		if err != nil {
			return nil, err
		}
		if err := a.Save(filepath.Join(dir, names[i])); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// randomLoRA makes a random adapter on the modules, or the usual ones. Nothing about
// its speed depends on the values, which are small so that the base's answers stay
// sane.
func randomLoRA(m models.Model, rank int, modules []string, source rand.Source) (*adapters.Adapter, error) {
	if len(modules) == 0 {
		modules = usualTargets(m)
	}
	var targets any = modules
	if len(modules) == 1 && strings.EqualFold(modules[0], allLinear) {
		targets = allLinear // PEFT takes it for that where it is no list
	}
	config, err := adapters.NewConfig(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank,
		"target_modules": targets, "fan_in_fan_out": hasConv1D(m), "inference_mode": true, "base_model_name_or_path": "",
	})
	if err != nil {
		return nil, err
	}
	a, err := adapters.New(m, config)
	if err != nil {
		return nil, err
	}
	random, scale := rand.New(source), 0.02/math.Sqrt(float64(rank))
	for _, p := range a.Params() {
		values := p.Values()
		for r := range values.Rows {
			row := values.Row(r)
			for c := range row {
				row[c] = float32(random.NormFloat64() * scale)
			}
		}
	}
	return a, nil
}

// allLinear stands for every linear but the output embedding.
const allLinear = "all-linear"

// usualTargets are the projections of queries and values, or what holds them.
func usualTargets(m models.Model) []string {
	found := map[string]bool{}
	for _, s := range m.Sites() {
		if s.Kind == models.LinearSite {
			found[s.Module()] = true
		}
	}
	for _, targets := range [][]string{{"q_proj", "v_proj"}, {"query", "value"}, {"q", "v"}, {"c_attn"}, {"query_key_value"}} {
		if found[targets[0]] {
			return targets
		}
	}
	return []string{allLinear}
}

func hasConv1D(m models.Model) bool {
	for _, s := range m.Sites() {
		if s.Conv1D {
			return true
		}
	}
	return false
}

// folderOf is the adapter as a folder that is on no disk.
func folderOf(a *adapters.Adapter) *adapters.Folder {
	var tensors []safetensors.Tensor
	for _, p := range a.Params() {
		tensors = append(tensors, p.Tensor())
	}
	return adapters.NewFolder("bench", a.Config(), tensors)
}

// folder is where what is made here lies: the folder of --keep, where it stays, or else
// one that remove takes away.
func (b *benchCommand) folder() (dir string, remove func() error, err error) {
	if b.Keep != "" {
		return b.Keep, func() error { return nil }, os.MkdirAll(b.Keep, 0o755)
	}
	dir, err = os.MkdirTemp("", "peft-serve-bench-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}
