package inspect

import (
	"math"

	"gonum.org/v1/gonum/stat"

	"github.com/peft-serve/peft-serve/models"
)

// summarise fills in the means by layer and the correlations.
func (c *Comparison) summarise(sites models.Sites) {
	kinds := map[string][]Change{}
	layers := map[int][]Change{}
	last := -1
	for _, m := range c.Modules {
		kind := sites[sites.Find(m.Module)].Module()
		kinds[kind] = append(kinds[kind], m)
		layers[m.Layer] = append(layers[m.Layer], m)
		last = max(last, m.Layer)
	}
	for layer := range last + 1 {
		if n := float64(len(layers[layer])); n > 0 {
			mean := Change{Layer: layer}
			for _, m := range layers[layer] {
				mean.DeltaM, mean.DeltaD, mean.Relative = mean.DeltaM+m.DeltaM/n, mean.DeltaD+m.DeltaD/n, mean.Relative+m.Relative/n
			}
			c.Layers = append(c.Layers, mean)
		}
	}
	kinds["all"] = c.Modules
	for kind, changes := range kinds {
		if r, ok := correlate(changes); ok {
			c.Correlation[kind] = r
		}
	}
}

// correlate is Pearson's coefficient between ΔM and ΔD.
func correlate(changes []Change) (float64, bool) {
	if len(changes) < 3 {
		return 0, false
	}
	var m, d []float64
	for _, c := range changes {
		m, d = append(m, c.DeltaM), append(d, c.DeltaD)
	}
	r := stat.Correlation(m, d, nil)
	return r, !math.IsNaN(r) && !math.IsInf(r, 0)
}
