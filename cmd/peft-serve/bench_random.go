package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/peft-serve/peft-serve/kernels"
)

// randomRow fills a row, padded to 8 bytes, with random weights of the variance
// 1/cols. The codes of a block format are drawn as they are stored.
func randomRow(row []byte, random *rand.Rand, f kernels.Format, cols int) {
	for i := 0; i < len(row); i += 8 {
		binary.LittleEndian.PutUint64(row[i:], random.Uint64())
	}
	deviation := 1 / math.Sqrt(float64(cols))
	if f.BlockLen() == 1 {
		randomFloats(row, random, f, cols, float32(deviation*math.Sqrt(3)))
		return
	}
	size := f.BlockBytes()
	for at := 0; at < f.RowBytes(cols); at += size {
		scaleRandom(row[at:at+size], f, deviation)
	}
}

// randomFloats fills a row of a float format, uniformly within the bound.
func randomFloats(row []byte, random *rand.Rand, f kernels.Format, cols int, bound float32) {
	values := make([]float32, cols)
	for i := range values {
		values[i] = bound * (2*random.Float32() - 1)
	}
	if err := kernels.Encode(row[:f.RowBytes(cols)], f, values); err != nil {
		panic(err) // none of them is large
	}
}

// scaleRandom sets the scales of a block of random codes. Codes of n bits have the
// deviation √((4ⁿ-1)/12).
func scaleRandom(b []byte, f kernels.Format, deviation float64) {
	put := func(at int, v float64) { binary.LittleEndian.PutUint16(b[at:], kernels.ToHalf(float32(v))) }
	scale := func(bits int) float64 { return deviation / math.Sqrt((math.Pow(4, float64(bits))-1)/12) }
	const middle = 32 // of the scales of sub-blocks
	switch f {
	case kernels.Q8_0:
		put(0, scale(8))
	case kernels.Q4_0:
		put(0, scale(4))
	case kernels.Q5_0:
		put(0, scale(5))
	case kernels.Q4_1:
		put(0, scale(4))
		put(2, -7.5*scale(4))
	case kernels.Q5_1:
		put(0, scale(5))
		put(2, -15.5*scale(5))
	case kernels.Q4_K, kernels.Q5_K:
		bits, mean := 4, 7.5
		if f == kernels.Q5_K {
			bits, mean = 5, 15.5
		}
		put(0, scale(bits)/middle)
		put(2, mean*scale(bits)/middle)
		for i := range 8 {
			b[4+i] = middle | 0x80 // the upper bits of the last four are the upper two of these
		}
		clear(b[12:16])
	case kernels.Q6_K:
		for i := range 16 {
			b[192+i] = middle
		}
		put(208, scale(6)/middle)
	}
}
