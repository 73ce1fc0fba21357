package adapters

import (
	"fmt"
	"math"
	"strings"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Starts lists the ways in which low-rank factors begin: default is PEFT's
// init_lora_weights=true.
var Starts = []string{"default", "gaussian", "pissa", "olora"}

// Start sets the parameters of an adapter that New has made to their initial
// values, each a function of the seed and the tensor's name, as PEFT and
// AdapterHub draw them. A parameter that stands in for one of the base's keeps
// the base's value.
//
// PiSSA and OLoRA take the factors from the base's weight W and subtract
// s·B₀·A₀ from it. Here W stays as it is: the adapter has twice the rank, and
// its upper half is A₀ and -B₀, which is never trained. So the file is
// converted from the start, and the raw base serves it.
func Start(a *Adapter, m models.Model, start string, seed uint64) error {
	sites := m.Sites()
	for i, p := range a.params {
		name := strings.TrimPrefix(p.Name, a.config.NamePrefix())
		values, source := p.Values(), random.Named(seed, p.Name)
		switch module, tensor := splitName(name); tensor {
		case "lora_A.weight":
			if start == "pissa" || start == "olora" {
				site := sites.Find(module)
				if err := factorise(sites[site], start, a.lowRankAt(site), p, a.params[i+1]); err != nil {
					return err
				}
				continue
			}
			startA(values, source, start)
		case "lora_embedding_B":
			source.Normal(values.Data, 1)
		case "ia3_l":
			fill(values, 1)
		case "adapter_down.weight", "adapter_up.weight":
			a.startBottleneck(values, tensor, source)
		case "adapter_norm_before.weight", "adapter_norm_after.weight", "scaling":
			fill(values, 1)
		case promptTensor:
			source.Normal(values.Data, 1) // torch.nn.Embedding's
		}
	}
	// DoRA's magnitude is the norm that it divides by: see startMagnitudes.
	a.startMagnitudes()
	a.Refresh()
	return nil
}

// splitName splits "<module>.<tensor>", where the tensor's own name may have
// one dot.
func splitName(name string) (module, tensor string) {
	for _, t := range []string{
		"lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "ia3_l",
		"adapter_down.weight", "adapter_up.weight", "adapter_norm_before.weight", "adapter_norm_after.weight", "scaling",
	} {
		if module, ok := strings.CutSuffix(name, "."+t); ok {
			return module, t
		}
	}
	return "", name
}

// startA draws A: kaiming_uniform with a = √5 is U(±1/√in); "gaussian" is
// N(0, 1/r²) (peft/tuners/lora/layer.py reset_lora_parameters).
func startA(a kernels.Matrix, source random.Source, start string) {
	if start == "gaussian" {
		source.Normal(a.Data, 1/float64(a.Rows))
		return
	}
	bound := float32(1 / math.Sqrt(float64(a.Cols)))
	source.Uniform(a.Data, -bound, bound)
}

// startBottleneck draws a bottleneck's matrices by init_weights (AdapterHub,
// methods/bottleneck.py): "bert" is N(0, 0.02²), "mam_adapter" as LoRA's A and
// zero, "houlsby" a normal of deviation 0.01 truncated at two deviations.
func (a *Adapter) startBottleneck(v kernels.Matrix, tensor string, source random.Source) {
	switch strings.Trim(string(a.config.value("init_weights")), `"`) {
	case "mam_adapter":
		if tensor == "adapter_down.weight" {
			startA(v, source, "default")
		}
	case "houlsby":
		source.TruncatedNormal(v.Data, 0.01, 2)
	default:
		source.Normal(v.Data, 0.02)
	}
}

func fill(m kernels.Matrix, x float32) {
	for i := range m.Data {
		m.Data[i] = x
	}
}

// lowRankAt is the low-rank delta of a site.
func (a *Adapter) lowRankAt(site int) *lowRank {
	d, ok := a.linears[site].(*linear)
	if !ok {
		return nil
	}
	for _, c := range d.deltas {
		switch c := c.(type) {
		case *lowRank:
			return c
		case *gains:
			return c.low
		}
	}
	return nil
}

// startMagnitudes sets DoRA's magnitudes to the norms, so that the adapter
// begins as nothing: with m = 1, refresh leaves 1/n in the gains.
func (a *Adapter) startMagnitudes() {
	var magnitudes []*Param
	for _, p := range a.params {
		if strings.HasSuffix(p.Name, ".lora_magnitude_vector") {
			magnitudes = append(magnitudes, p)
			fill(p.Values(), 1)
		}
	}
	if len(magnitudes) == 0 {
		return
	}
	a.Refresh()
	gains := a.gainsByMagnitude()
	for _, p := range magnitudes {
		v := p.Values().Data
		for j, g := range gains[p] {
			v[j] = 1 / g
		}
	}
}

func (a *Adapter) gainsByMagnitude() map[*Param][]float32 {
	all := map[*Param][]float32{}
	for _, l := range a.linears {
		d, ok := l.(*linear)
		if !ok {
			continue
		}
		for _, c := range d.deltas {
			if g, ok := c.(*gains); ok {
				all[g.magnitude] = g.gain
			}
		}
	}
	for site, e := range a.embeddings {
		d, ok := e.(*embedding)
		if !ok || d.low == nil || d.low.gain == nil {
			continue
		}
		for _, p := range a.params {
			if strings.HasSuffix(p.Name, ".lora_magnitude_vector") && p.Len() == len(d.low.gain) && all[p] == nil && a.embeddings[site] != nil {
				all[p] = d.low.gain
			}
		}
	}
	return all
}

// TrainedRows is how many of the leading rows of a parameter's Weight are
// trained: half of those of a factor that Start has taken from the base.
func (a *Adapter) TrainedRows(p *Param, start string) int {
	rows, _ := p.dims()
	if (start == "pissa" || start == "olora") && (strings.HasSuffix(p.Name, ".lora_A.weight") || strings.HasSuffix(p.Name, ".lora_B.weight")) {
		return rows / 2
	}
	return rows
}

// factorise sets A and B, held [r, in] and [r, out], from W: the lower half of
// the rows are A₀ and B₀ᵀ, the upper A₀ and -B₀ᵀ.
func factorise(s models.Site, start string, low *lowRank, a, b *Param) error {
	if low == nil || low.a != a || low.b != b {
		return fmt.Errorf("%w: %s does not go with %q", ErrConfig, start, s.Name)
	}
	av, bv := a.Values(), b.Values()
	r := av.Rows / 2
	w := s.Linear.W.Matrix()
	if r > min(w.Rows, w.Cols) {
		return fmt.Errorf("%w: %s of rank %d of %q, whose weight is %d × %d", ErrConfig, start, r, s.Name, w.Rows, w.Cols)
	}
	if start == "pissa" {
		principal(av.Span(0, r), bv.Span(0, r), w, float64(low.scale))
	} else {
		orthonormal(av.Span(0, r), bv.Span(0, r), w)
	}
	for k := range r {
		copy(av.Row(r+k), av.Row(k))
		for j, v := range bv.Row(k) {
			bv.Row(r + k)[j] = -v
		}
	}
	return nil
}
