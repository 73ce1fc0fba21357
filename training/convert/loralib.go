package convert

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// readLoRALib reads a state dict of loralib (microsoft/LoRA):
// "<module>.lora_A", "<module>.lora_B" and, of a classifier, the head. A fused
// projection has a rank for each adapted part: two of them are query and value
// (loralib's enable_lora in examples/NLG), three all.
func readLoRALib(o Options) (*middle, error) {
	if !(o.Alpha > 0) {
		return nil, fmt.Errorf("%w: loralib's files do not say lora_alpha: give --lora-alpha (microsoft/LoRA's scripts for RoBERTa use 16)", ErrConfig)
	}
	m := &middle{values: map[string]any{}}
	m.nameBase(o)
	tensors, closeFile, err := readTensors(filepath.Dir(o.From), filepath.Base(o.From))
	if err != nil {
		return nil, err
	}
	m.close = closeFile
	found, heads := map[string]*adapters.Factors{}, map[string]bool{}
	for _, t := range tensors {
		module, isA := strings.CutSuffix(t.Name, ".lora_A")
		var isB bool
		if !isA {
			module, isB = strings.CutSuffix(t.Name, ".lora_B")
		}
		if found[module] == nil && (isA || isB) {
			found[module] = &adapters.Factors{Module: module}
		}
		switch {
		case isA:
			found[module].A = t
		case isB:
			found[module].B = t
		case strings.HasPrefix(t.Name, "classifier.") || strings.HasPrefix(t.Name, "score."):
			heads[t.Name[:strings.IndexByte(t.Name, '.')]] = true
			t.Name = prefix + t.Name
			m.tensors = append(m.tensors, t)
		default:
			_ = closeFile()
			return nil, fmt.Errorf("%w %q is neither loralib's nor a head's", ErrTensor, t.Name)
		}
	}
	var all []*adapters.Factors
	for _, module := range slices.Sorted(maps.Keys(found)) {
		p := found[module]
		if p, err = ungrouped(p); err != nil {
			_ = closeFile()
			return nil, err
		}
		all = append(all, p)
	}
	if len(heads) > 0 {
		m.values["modules_to_save"], m.values["task_type"] = slices.Sorted(maps.Keys(heads)), "SEQ_CLS"
	}
	if err := m.fromPairs(all, o.Alpha); err != nil {
		_ = closeFile()
		return nil, err
	}
	for _, p := range all { // the scaling is that of a part's rank
		if g := found[p.Module]; g.B.Shape[1] != p.Rank() {
			m.values["lora_alpha"] = number(o.Alpha * float64(p.Rank()) / float64(g.B.Shape[1]))
		}
	}
	return m, nil
}

// ungrouped spreads the factors of a fused projection.
func ungrouped(p *adapters.Factors) (*adapters.Factors, error) {
	shaped := func(t safetensors.Tensor) bool { return len(t.Shape) == 2 && t.Shape[0] > 0 && t.Shape[1] > 0 }
	if !shaped(p.A) || !shaped(p.B) {
		return nil, fmt.Errorf("%w: %s has the factors %v and %v", ErrTensor, p.Module, p.A.Shape, p.B.Shape)
	}
	parts := map[int][]int{2: {0, 2}, 3: {0, 1, 2}}[p.A.Shape[0]/p.B.Shape[1]]
	if p.A.Shape[0] == p.B.Shape[1] {
		return p, nil
	}
	return spread(p.Module, p.A, p.B, parts)
}
