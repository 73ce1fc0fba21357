package models

import (
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// ropeConfig is rope_scaling of config.json, and rope_parameters, which
// replaces it in transformers 5.
type ropeConfig struct {
	Type            string    `json:"rope_type"`
	OldType         string    `json:"type"`
	Theta           float64   `json:"rope_theta"`
	Factor          float64   `json:"factor"`
	LowFreqFactor   float64   `json:"low_freq_factor"`
	HighFreqFactor  float64   `json:"high_freq_factor"`
	Original        int       `json:"original_max_position_embeddings"`
	AttentionFactor *float64  `json:"attention_factor"`
	BetaFast        float64   `json:"beta_fast"`
	BetaSlow        float64   `json:"beta_slow"`
	MScale          float64   `json:"mscale"`
	MScaleAllDim    float64   `json:"mscale_all_dim"`
	Truncate        *bool     `json:"truncate"`
	Factors         []float64 `json:"-"` // divisors by frequency (GGUF's rope_freqs)
}

func (c *ropeConfig) kind() string {
	switch {
	case c == nil:
		return "default"
	case c.Type != "":
		return c.Type
	case c.OldType != "":
		return c.OldType
	}
	return "default"
}

// newRope tabulates the rotations of positions 0 … context-1. The scaling kinds
// follow transformers' modeling_rope_utils.py; trained is
// max_position_embeddings.
func newRope(s *Source, headDim int, theta float64, c *ropeConfig, trained, context int) (*kernels.Rope, error) {
	inverse, attention := plainFrequencies(headDim, theta), 1.0
	switch kind := c.kind(); kind {
	case "default":
	case "linear":
		if err := s.positiveFactor(c.Factor); err != nil {
			return nil, err
		}
		for i := range inverse {
			inverse[i] /= c.Factor
		}
	case "dynamic":
		// Frequencies change only past max_position_embeddings, where a cached
		// key would have to be rotated anew: the context ends there instead.
	case "llama3":
		if err := s.positiveFactor(c.Factor); err != nil {
			return nil, err
		}
		llama3Frequencies(inverse, c)
	case "yarn":
		if err := s.positiveFactor(c.Factor); err != nil {
			return nil, err
		}
		attention = yarnFrequencies(inverse, c, headDim, theta, trained)
	default:
		return nil, fmt.Errorf("%s: rope_scaling: rope_type %q is not implemented", s.Name, kind)
	}
	if c != nil && len(c.Factors) > 0 {
		if len(c.Factors) != len(inverse) {
			return nil, fmt.Errorf("%s: rope_freqs has %d factors for %d frequencies", s.Name, len(c.Factors), len(inverse))
		}
		for i, f := range c.Factors {
			inverse[i] /= f
		}
	}
	return kernels.NewRope(headDim, context, inverse, attention), nil
}

func (s *Source) positiveFactor(f float64) error {
	if f <= 0 {
		return fmt.Errorf("%s: rope_scaling: factor is %v, must be positive", s.Name, f)
	}
	return nil
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
	original := float64(c.Original)
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
		original = float64(c.Original)
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
