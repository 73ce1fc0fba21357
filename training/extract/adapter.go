package extract

import (
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// settings is the configuration of the adapter, in which every scaling is 1:
// alpha is the rank, everywhere.
func (j *job) settings() map[string]any {
	r := 1
	uniform := true
	for _, f := range j.found {
		r = max(r, f.Rank)
		uniform = uniform && f.Rank == j.found[0].Rank
	}
	values := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": r,
		"lora_dropout": 0.0, "bias": "none", "init_lora_weights": true, "target_modules": j.targets(), "inference_mode": true,
	}
	if j.BaseName != "" {
		values["base_model_name_or_path"] = j.BaseName
	}
	if !uniform {
		ranks := map[string]int{}
		for _, f := range j.found {
			if f.Rank != r {
				ranks[f.Name] = f.Rank
			}
		}
		values["rank_pattern"], values["alpha_pattern"] = ranks, ranks
	}
	values["fan_in_fan_out"] = slices.ContainsFunc(j.found, func(f factored) bool { return j.base.Sites()[f.site].Conv1D })
	if j.differ {
		values["bias"] = "all"
	}
	if len(j.saved) > 0 {
		values["modules_to_save"] = j.saved
	}
	if j.tie {
		values["ensure_weight_tying"] = true
	}
	return values
}

// targets names the modules: by their last names where that names no other
// module, in full otherwise.
func (j *job) targets() []string {
	found := map[string]bool{}
	for _, f := range j.found {
		found[f.Name] = true
	}
	var short []string
	for _, f := range j.found {
		last := j.base.Sites()[f.site].Module()
		if slices.Contains(short, last) {
			continue
		}
		for _, s := range j.base.Sites() {
			adaptable := s.Kind == models.LinearSite || s.Kind == models.EmbeddingSite
			if adaptable && (s.Name == last || strings.HasSuffix(s.Name, "."+last)) && !found[s.Name] {
				var full []string
				for _, f := range j.found {
					full = append(full, f.Name)
				}
				return full
			}
		}
		short = append(short, last)
	}
	return short
}

// fill sets the adapter's parameters: the factors and, of what is taken over
// whole, the tuned model's values.
func (j *job) fill(a *adapters.Adapter) {
	factors := map[int]factored{}
	for _, f := range j.found {
		factors[f.site] = f
	}
	for _, p := range a.Params() {
		f, tuned := factors[p.Site], j.tuned.Sites()[p.Site]
		turned := tuned.Kind == models.EmbeddingSite // D = (B·A)ᵀ
		switch {
		case p.Role == adapters.Down && turned:
			set(p, f.b.T())
		case p.Role == adapters.Up && turned:
			set(p, f.a.T())
		case p.Role == adapters.Down:
			set(p, f.a)
		case p.Role == adapters.Up:
			set(p, f.b)
		default:
			copy(p.Values().Data, whole(tuned, p.Role == adapters.Bias))
		}
	}
	a.Refresh()
}

// whole is a weight or a bias of a site.
func whole(s models.Site, bias bool) []float32 {
	switch {
	case s.Kind == models.NormSite && bias:
		return s.Norm.Bias
	case s.Kind == models.NormSite:
		return s.Norm.Weight
	case s.Kind == models.EmbeddingSite:
		return s.Embedding.W.Matrix().Data
	case bias:
		return s.Linear.Bias
	}
	return s.Linear.W.Matrix().Data
}

// set fills a matrix, given as the file holds it.
func set(p *adapters.Param, m mat.Matrix) {
	values := p.Values()
	rows, cols := m.Dims()
	for i := range rows {
		for k := range cols {
			if p.Transposed {
				values.Row(k)[i] = float32(m.At(i, k))
			} else {
				values.Row(i)[k] = float32(m.At(i, k))
			}
		}
	}
}
