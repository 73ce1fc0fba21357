package models

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// newRope tabulates the rotations of positions 0 … context-1. The scaling kinds
// follow transformers' modeling_rope_utils.py, and have been checked; trained is
// max_position_embeddings.
func (s *Source) newRope(headDim int, theta float64, c *ropeConfig, trained, context int) *kernels.Rope {
	inverse, attention := plainFrequencies(headDim, theta), 1.0
	switch c.kind() {
	case "linear":
		for i := range inverse {
			inverse[i] /= c.Factor
		}
	case "dynamic":
		// Frequencies change only past max_position_embeddings, where a cached
		// key would have to be rotated anew: the context ends there instead.
	case "llama3":
		llama3Frequencies(inverse, c)
	case "yarn":
		attention = yarnFrequencies(inverse, c, headDim, theta, trained)
	}
	for i, f := range s.factors {
		inverse[i] /= f
	}
	if s.shape {
		context = 0 // nobody rotates
	}
	return kernels.NewRope(headDim, context, inverse, attention)
}

// plainFrequencies is θ^(-2i/dim), rounded as PyTorch does in float32.
func plainFrequencies(dim int, theta float64) []float64 {
	inverse := make([]float64, dim/2)
	for i := range inverse {
		power := float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
		inverse[i] = float64(1 / power)
	}
	return inverse
}

// llama3Frequencies stretches the long wavelengths by the factor and blends
// between (Llama 3.1's scaling).
func llama3Frequencies(inverse []float64, c *ropeConfig) {
	original := c.Original
	low, high := original/c.LowFreqFactor, original/c.HighFreqFactor
	for i, f := range inverse {
		wavelength := 2 * math.Pi / f
		switch {
		case wavelength > low:
			inverse[i] = f / c.Factor
		case wavelength >= high:
			smooth := (original/wavelength - c.LowFreqFactor) / (c.HighFreqFactor - c.LowFreqFactor)
			inverse[i] = (1-smooth)*f/c.Factor + smooth*f
		}
	}
}

// yarnFrequencies is YaRN (Peng et al., 2023); it returns the attention factor.
func yarnFrequencies(inverse []float64, c *ropeConfig, dim int, theta float64, trained int) float64 {
	original := float64(trained)
	if c.Original > 0 {
		original = c.Original
	}
	fast, slow := c.BetaFast, c.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	correction := func(rotations float64) float64 {
		return float64(dim) * math.Log(original/(rotations*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := correction(fast), correction(slow)
	if c.Truncate == nil || *c.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dim-1))
	if low == high {
		high += 0.001
	}
	for i, f := range inverse {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		inverse[i] = f/c.Factor*ramp + f*(1-ramp)
	}
	mscale := func(m float64) float64 {
		if c.Factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(c.Factor) + 1
	}
	switch {
	case c.AttentionFactor != nil:
		return *c.AttentionFactor
	case c.MScale != 0 && c.MScaleAllDim != 0:
		return mscale(c.MScale) / mscale(c.MScaleAllDim)
	}
	return mscale(1)
}

func invSqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }
