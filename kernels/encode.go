package kernels

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Errors of Encode.
var (
	ErrNoEncoder = errors.New("no encoder for this format")
	ErrNotFinite = errors.New("value cannot be quantised")
)

// Encode stores src in format f: it fills dst, which holds
// f.RowBytes(len(src)) bytes. The float formats round to nearest, ties to
// even; Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 follow quantize_row_*_ref of
// llama.cpp's ggml-quants.c, and the goldens of models/gguf hold them to the
// bytes of PyPI gguf. The k-quants have no encoder here (ErrNoEncoder), and a
// block format takes no NaN and nothing beyond ±65504, whose scale or minimum
// an f16 might not hold (ErrNotFinite, with the value's index).
func Encode(dst []byte, f Format, src []float32) error {
	if want := f.RowBytes(len(src)); len(dst) != want {
		panic(fmt.Sprintf("kernels: %s: %d bytes for %d values of %s, want %d", badShape, len(dst), len(src), f, want))
	}
	switch f {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], ToHalf(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toBrain(v))
		}
	case Q8_0, Q4_0, Q4_1, Q5_0, Q5_1:
		n, size := f.BlockLen(), f.BlockBytes()
		block := blockEncoders[f]
		for at := 0; at < len(src); at += n {
			if i := unquantisable(src[at : at+n]); i >= 0 {
				return fmt.Errorf("%w: %s of %g at %d", ErrNotFinite, f, src[at+i], at+i)
			}
			block(dst[at/n*size:][:size], src[at:at+n])
		}
	default:
		return fmt.Errorf("%w: %s", ErrNoEncoder, f)
	}
	return nil
}

var blockEncoders = [...]func(b []byte, src []float32){
	Q8_0: encodeQ8_0, Q4_0: encodeQ4_0, Q4_1: encodeQ4_1, Q5_0: encodeQ5_0, Q5_1: encodeQ5_1,
}

// largestQuantised bounds |v| such that Q4_0's scale v/8, the largest, and
// the minimum v of Q4_1 and Q5_1 fit an f16.
const largestQuantised = 65504

// unquantisable is the index of the first value that no block takes, or -1.
func unquantisable(src []float32) int {
	for i, v := range src {
		if !(v >= -largestQuantised && v <= largestQuantised) { // true of NaN
			return i
		}
	}
	return -1
}

func putHalf(b []byte, v float32) { binary.LittleEndian.PutUint16(b, ToHalf(v)) }

// inverse is 1/d, and 0 for a block of zeros or of values so small that 1/d
// overflows; d stores as 0 then.
func inverse(d float32) float32 {
	if id := 1 / d; abs(id) <= math.MaxFloat32 {
		return id
	}
	return 0
}

func encodeQ8_0(b []byte, src []float32) {
	var largest float32
	for _, v := range src {
		largest = max(largest, abs(v))
	}
	d := largest / 127
	id := inverse(d)
	putHalf(b, d)
	for i, v := range src {
		x := float64(v * id) // to which 0.5 is added exactly
		b[2+i] = byte(int8(x + math.Copysign(0.5, x)))
	}
}

// extremeOf is the first value of the largest magnitude, signed.
func extremeOf(src []float32) (extreme float32) {
	for _, v := range src {
		if abs(v) > abs(extreme) {
			extreme = v
		}
	}
	return extreme
}

// bounds are the least and the largest value.
func bounds(src []float32) (low, high float32) {
	low, high = src[0], src[0]
	for _, v := range src {
		if v < low { // not min, which prefers -0 to 0
			low = v
		}
		high = max(high, v)
	}
	return low, high
}

func encodeQ4_0(b []byte, src []float32) {
	d := extremeOf(src) / -8
	id := inverse(d)
	putHalf(b, d)
	nibble := func(v float32) byte { return min(15, byte(int8(float32(v*id)+8.5))) }
	for i := range 16 {
		b[2+i] = nibble(src[i]) | nibble(src[i+16])<<4
	}
}

func encodeQ4_1(b []byte, src []float32) {
	low, high := bounds(src)
	d := (high - low) / 15
	id := inverse(d)
	putHalf(b, d)
	putHalf(b[2:], low)
	nibble := func(v float32) byte { return min(15, byte(int8(float32((v-low)*id)+0.5))) }
	for i := range 16 {
		b[4+i] = nibble(src[i]) | nibble(src[i+16])<<4
	}
}

func encodeQ5_0(b []byte, src []float32) {
	d := extremeOf(src) / -16
	id := inverse(d)
	putHalf(b, d)
	putFives(b[2:], src, func(v float32) byte { return min(31, byte(int8(float32(v*id)+16.5))) })
}

func encodeQ5_1(b []byte, src []float32) {
	low, high := bounds(src)
	d := (high - low) / 31
	id := inverse(d)
	putHalf(b, d)
	putHalf(b[2:], low)
	putFives(b[4:], src, func(v float32) byte { return byte(float32((v-low)*id) + 0.5) })
}

// putFives stores the five-bit codes of src: the fifth bits, then the others.
func putFives(b []byte, src []float32, code func(float32) byte) {
	var high uint32
	for i := range 16 {
		a, c := code(src[i]), code(src[i+16])
		high |= uint32(a>>4)<<i | uint32(c>>4)<<(i+16)
		b[4+i] = a&15 | c&15<<4
	}
	binary.LittleEndian.PutUint32(b, high)
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// ToHalf rounds v to IEEE 754 binary16, to nearest with ties to even; what is
// too large becomes an infinity, and a NaN stays one, quiet.
func ToHalf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, bits := uint16(bits>>16&0x8000), bits&^(1<<31)
	switch {
	case bits > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(bits>>13&0x3ff)
	case bits >= 0x477ff000: // at least half a step beyond 65504
		return sign | 0x7c00
	case bits < 0x38800000: // subnormal: adding 0.5 leaves multiples of 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-math.Float32bits(0.5))
	}
	odd := bits >> 13 & 1
	return sign | uint16((bits-112<<23+0xfff+odd)>>13)
}

// toBrain rounds v to bfloat16 as ggml_compute_fp32_to_bf16 does.
func toBrain(v float32) uint16 {
	bits := math.Float32bits(v)
	if bits&^(1<<31) > 0x7f800000 {
		return uint16(bits>>16) | 64
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
