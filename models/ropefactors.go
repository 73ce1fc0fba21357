package models

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ropeFactorsName is the tensor in which llama.cpp's converter keeps the scaling
// of Llama 3.1 and later: divisors of the frequencies.
const ropeFactorsName = "rope_freqs.weight"

// ropeFactors reads that tensor, as the scaling that it was made from where that
// can be found.
func (k *ggufKeys) ropeFactors(c map[string]any) {
	if _, ok := k.s.GGUF.Lookup(ropeFactorsName); !ok {
		return
	}
	w, err := k.s.weight(ropeFactorsName)
	if err != nil {
		k.s.fault("%w", err)
		return
	}
	var factors []float64
	for _, f := range w.Matrix().Data {
		if !(f > 0) || f > math.MaxFloat32 {
			k.s.fault("tensor %q has a factor of %g", ropeFactorsName, f)
			return
		}
		factors = append(factors, float64(f))
	}
	dim, _ := c["head_dim"].(int)
	if len(factors) != dim/2 {
		k.s.fault("tensor %q has %d factors for %d frequencies", ropeFactorsName, len(factors), dim/2)
		return
	}
	theta, ok := c["rope_theta"].(decimal)
	if !ok {
		theta = 10000
	}
	context, _ := c["max_position_embeddings"].(int)
	if found := llama3Of(factors, dim, float64(theta), context); found != nil && c["rope_scaling"] == nil {
		c["rope_scaling"] = map[string]any{
			"rope_type": "llama3", "factor": decimal(found.Factor), "low_freq_factor": decimal(found.LowFreqFactor),
			"high_freq_factor": decimal(found.HighFreqFactor), "original_max_position_embeddings": int(found.Original),
		}
		return
	}
	k.s.factors = factors
}

// ErrFolder reports a base from a GGUF of which a folder cannot say everything.
var ErrFolder = errors.New("config.json cannot say this")

// FolderConfig is config.json for a folder with this base's weights: as it is
// written, or from the metadata of a GGUF file.
func (s *Source) FolderConfig() ([]byte, error) {
	if len(s.factors) > 0 {
		return nil, fmt.Errorf("%w: %s: the factors of %s are those of no scaling that transformers has", ErrFolder, s.Name, ropeFactorsName)
	}
	return s.written, nil
}

// llama3Of finds the parameters of Llama 3.1's scaling that give these factors;
// nil where there are none. The factors show less than there is: of the factor
// itself the largest, and of the rest the line on which those between 1 and the
// largest lie, 1/f = 1/factor + (1-1/factor)·(a/wavelength - b), with a =
// original/(high-low) and b = low/(high-low). Taking low for 1, as every
// published model has it, leaves high = 1 + 1/b and original = a/b.
func llama3Of(factors []float64, dim int, theta float64, context int) *ropeConfig {
	inverse := plainFrequencies(dim, theta)
	var shares, turns []float64 // of those between, the smooth factor and 1/wavelength
	factor := slices.Max(factors)
	for i, f := range factors {
		if f > 1 && f < factor {
			shares = append(shares, (1/f-1/factor)/(1-1/factor))
			turns = append(turns, inverse[i]/(2*math.Pi))
		}
	}
	candidates := []ropeConfig{}
	if a, b := line(turns, shares); a > 0 && b < 0 {
		candidates = append(candidates, ropeConfig{HighFreqFactor: nearest(1 - 1/b), Original: math.Round(-a / b)})
	}
	for original := 16.0; original <= float64(context); original *= 2 { // too few between: the published 1 and 4
		candidates = append(candidates, ropeConfig{HighFreqFactor: 4, Original: original})
	}
	for _, c := range candidates {
		c.Factor, c.LowFreqFactor = nearest(factor), 1
		if c.HighFreqFactor > 1 && c.Original > 0 && gives(&c, factors, inverse) {
			return &c
		}
	}
	return nil
}

// gives reports whether the parameters give the factors, up to the rounding of
// float32.
func gives(c *ropeConfig, factors, inverse []float64) bool {
	scaled := slices.Clone(inverse)
	llama3Frequencies(scaled, c)
	for i, f := range factors {
		if math.Abs(inverse[i]/scaled[i]-f) > 2e-6*f {
			return false
		}
	}
	return true
}

// line is the least-squares line y = a·x + b.
func line(x, y []float64) (a, b float64) {
	n := float64(len(x))
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	a = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	return a, (sy - a*sx) / n
}

// nearest undoes what rounding did to a number of at most three decimals.
func nearest(v float64) float64 {
	if short := math.Round(v*1000) / 1000; math.Abs(short-v) < 1e-4*v {
		return short
	}
	return v
}
