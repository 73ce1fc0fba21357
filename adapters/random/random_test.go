package random

import (
	"math"
	"slices"
	"testing"
)

// TestPhilox holds the generator against the known answers of Random123's
// kat_vectors (philox4x32 10). Our counter's upper half is the stream.
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		seed, stream, counter uint64
		want                  [4]uint32
	}{
		{0, 0, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{math.MaxUint64, math.MaxUint64, math.MaxUint64, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := New(c.seed, c.stream).Block(c.counter); got != c.want {
			t.Errorf("block %x of (%x, %x) is %x, want %x", c.counter, c.seed, c.stream, got, c.want)
		}
	}
}

func TestMoments(t *testing.T) {
	v := make([]float32, 1<<16)
	check := func(name string, mean, deviation float64) {
		var m, s float64
		for _, x := range v {
			m += float64(x) / float64(len(v))
		}
		for _, x := range v {
			s += (float64(x) - m) * (float64(x) - m) / float64(len(v))
		}
		if math.Abs(m-mean) > 0.02 || math.Abs(math.Sqrt(s)-deviation) > 0.02 {
			t.Errorf("%s: mean %v, deviation %v, want %v and %v", name, m, math.Sqrt(s), mean, deviation)
		}
	}
	s := Named(3, "a parameter")
	s.Uniform(v, -1, 1)
	check("uniform", 0, 1/math.Sqrt(3))
	s.Normal(v, 2)
	check("normal", 0, 2)
	s.Mask(v, 0, 0.25)
	check("mask", 1, math.Sqrt(0.25/0.75))
}

func TestMaskAnywhere(t *testing.T) {
	s := New(1, 2)
	whole, part := make([]float32, 103), make([]float32, 41)
	s.Mask(whole, 0, 0.3)
	s.Mask(part, 17, 0.3)
	if !slices.Equal(whole[17:58], part) {
		t.Error("a part of a mask differs from the mask")
	}
}

func TestPermutation(t *testing.T) {
	p := New(5, 6).Permutation(100)
	if slices.IsSorted(p) {
		t.Error("nothing was shuffled")
	}
	slices.Sort(p)
	for i, v := range p {
		if i != v {
			t.Fatalf("%d occurs at %d", v, i)
		}
	}
}

// TestMersenneTwister holds the generator against the C++ standard's known
// answer: the 10000th word of seed 5489 is 4123659995 (rand.predef). Drawn in
// pieces the numbers are the same.
func TestMersenneTwister(t *testing.T) {
	const word = 4123659995
	whole, pieces := make([]float32, 10000), make([]float32, 10000)
	NewTorch(5489).Uniform(whole, 0, 1)
	if want := float32(word&(1<<24-1)) / (1 << 24); whole[9999] != want {
		t.Errorf("the last of 10000 numbers is %v, want %v", whole[9999], want)
	}
	g := NewTorch(5489)
	for from, n := 0, 1; from < len(pieces); from, n = from+n, n+100 {
		g.Uniform(pieces[from:min(from+n, len(pieces))], 0, 1)
	}
	if !slices.Equal(whole, pieces) {
		t.Error("the numbers depend on how they are asked for")
	}
}
