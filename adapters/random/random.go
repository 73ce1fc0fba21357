// Package random makes random numbers that are a function of a seed, a stream
// and a counter, and of nothing else: Philox 4×32-10 (Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3", 2011).
//
// A training run that is resumed, or that computes a dropout mask a second
// time in the backward pass, draws the same numbers without having kept any
// state.
package random

import (
	"math"
	"math/bits"
)

// Source is one stream of numbers. The zero Source is a valid stream.
type Source struct{ seed, stream uint64 }

// New returns the stream of that number under seed.
func New(seed, stream uint64) Source { return Source{seed, stream} }

// Named returns the stream of a name: of a parameter, so that its first values
// do not depend on which others there are.
func Named(seed uint64, name string) Source {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return Source{seed, h}
}

// Block returns the four words of a counter.
func (s Source) Block(counter uint64) [4]uint32 {
	c := [4]uint32{uint32(counter), uint32(counter >> 32), uint32(s.stream), uint32(s.stream >> 32)}
	k0, k1 := uint32(s.seed), uint32(s.seed>>32)
	for range 10 {
		p0, p1 := uint64(c[0])*0xD2511F53, uint64(c[2])*0xCD9E8D57
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k0, uint32(p1), uint32(p0>>32) ^ c[3] ^ k1, uint32(p0)}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}

// Uint64 returns number i of the stream.
func (s Source) Uint64(i uint64) uint64 {
	b := s.Block(i / 2)
	if i%2 == 0 {
		return uint64(b[0])<<32 | uint64(b[1])
	}
	return uint64(b[2])<<32 | uint64(b[3])
}

// Below returns number i as an integer in [0, n).
func (s Source) Below(i uint64, n int) int {
	// The bias of the product is below n/2⁶⁴.
	hi, _ := bits.Mul64(s.Uint64(i), uint64(n))
	return int(hi)
}

// unit turns a word into a number in [0, 1) with 24 bits.
func unit(w uint32) float32 { return float32(w>>8) * (1.0 / (1 << 24)) }

// Uniform fills dst from U(low, high).
func (s Source) Uniform(dst []float32, low, high float32) {
	for i := 0; i < len(dst); i += 4 {
		b := s.Block(uint64(i / 4))
		for j := i; j < min(i+4, len(dst)); j++ {
			dst[j] = low + (high-low)*unit(b[j-i])
		}
	}
}

// Normal fills dst from N(0, deviation²), by Box and Muller's method.
func (s Source) Normal(dst []float32, deviation float64) {
	for i := 0; i < len(dst); i += 2 {
		b := s.Block(uint64(i / 2))
		u := (float64(b[0])*(1<<21) + float64(b[1]>>11) + 1) / (1 << 53)
		radius, angle := math.Sqrt(-2*math.Log(u))*deviation, 2*math.Pi*float64(b[2])/(1<<32)
		dst[i] = float32(radius * math.Cos(angle))
		if i+1 < len(dst) {
			dst[i+1] = float32(radius * math.Sin(angle))
		}
	}
}

// TruncatedNormal fills dst from N(0, deviation²) given that a value is within
// limit deviations, by the inverse of the distribution.
func (s Source) TruncatedNormal(dst []float32, deviation, limit float64) {
	inside := math.Erf(limit / math.Sqrt2)
	for i := range dst {
		u := (float64(s.Uint64(uint64(i))>>11) + 0.5) / (1 << 53)
		dst[i] = float32(deviation * math.Sqrt2 * math.Erfinv(inside*(2*u-1)))
	}
}

// Permutation returns 0 … n-1 in random order (Fisher and Yates).
func (s Source) Permutation(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j := s.Below(uint64(i), i+1)
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// Mask sets dst, [len(dst)] values from element first of the stream, to 0 with
// probability drop and to 1/(1-drop) otherwise: inverted dropout (Srivastava
// et al., 2014).
func (s Source) Mask(dst []float32, first uint64, drop float64) {
	below, keep := uint32(min(drop*(1<<32), math.MaxUint32)), float32(1/(1-drop))
	for i := 0; i < len(dst); {
		at := first + uint64(i)
		b := s.Block(at / 4)
		for j := at % 4; j < 4 && i < len(dst); j++ {
			dst[i] = keep
			if b[j] < below {
				dst[i] = 0
			}
			i++
		}
	}
}
