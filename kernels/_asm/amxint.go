package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The products of integer codes: 32 activations share a power of two and are
// three signed digits of base 256, so a block's sum is three integers, exact
// whichever instruction adds them. The float32 steps after that are
//
//	t = fma(h, 65536, m*256+l) * s
//	acc = fma(d, t, acc), then acc = fma(min, sum, acc) where there are minima
//
// and the same in all of these kernels.

// tileDotInt8 adds a·b to c in int8 quadruples with int32 sums: TDPBSSD.
func tileDotInt8(c, a, b byte) { bytes(0xc4, 0xe2, (^b&15)<<3|ppF2, 0x5e, 0xc0|c<<3|a) }

func amxInt() {
	amxIntProducts()
	amxPackDigits()
	amxPackRowDigits()
	amxPackInts()
	for _, f := range intFormats() {
		for _, rows := range []int{1, 8, 16} {
			amxInts(f, rows)
		}
	}
}

// factors returns the power of two that rows share, from the bits of their
// largest magnitudes, and its inverse: the largest becomes at most
// 127·(65536+256+1). Where a magnitude is not finite the factor is NaN.
func factors(top vec) (factor, inverse vec) {
	e := ZMM()
	factor, inverse = ZMM(), ZMM()
	VPADDD(integers(0x010101), top, e)
	VPSRLD(Imm(23), e, e)
	VPMAXUD(integers(23), e, e)
	VPSUBD(integers(22), e, factor)
	VPSLLD(Imm(23), factor, factor)
	VMOVDQU32(integers(276), inverse)
	VPSUBD(e, inverse, inverse)
	VPSLLD(Imm(23), inverse, inverse)
	k, nan := K(), ZMM()
	VPCMPUD(Imm(5), integers(0x7f800000), top, k)
	VMOVDQU32(integers(0x7fc00000), nan)
	VMOVDQA32(nan, k, factor)
	return factor, inverse
}

// digits turns 32 integers in two registers, which it spoils, into their
// signed digits, 32 bytes each, low first.
func digits(lo, hi vec) (bytes [3]vec) {
	for i := range bytes {
		bytes[i] = YMM()
		x, y := XMM(), XMM()
		VPMOVDB(lo, x)
		VPMOVDB(hi, y)
		VINSERTI32X4(Imm(1), y, x.AsY(), bytes[i])
		if i < 2 {
			for _, v := range []vec{lo, hi} {
				VPADDD(integers(128), v, v)
				VPSRAD(Imm(8), v, v)
			}
		}
	}
	return bytes
}

// fold16 leaves in every lane of v what f makes of all.
func fold16(v vec, f func(a, b, d vec)) {
	t := ZMM()
	VSHUFF64X2(Imm(0x4e), v, v, t)
	f(t, v, v)
	VSHUFF64X2(Imm(0xb1), v, v, t)
	f(t, v, v)
	VPSHUFD(Imm(0x4e), v, t)
	f(t, v, v)
	VPSHUFD(Imm(0xb1), v, t)
	f(t, v, v)
}

// partMasks returns masks of the columns left of 32, in two halves.
func partMasks(cols reg.Register) (lo, hi reg.Register) {
	full := GP64()
	lo, hi = K(), K()
	MOVQ(I32(-1), full)
	CMPQ(cols, Imm(32))
	JGE(LabelRef("whole"))
	BZHIQ(cols, full, full)
	Label("whole")
	KMOVW(full.As32(), lo)
	SHRQ(Imm(16), full)
	KMOVW(full.As32(), hi)
	return lo, hi
}

// intFormat is a format whose block of 32 is a scale, perhaps a minimum, and
// codes.
type intFormat struct {
	name        string
	bytes, head int
	affine      bool
	constants   func() [3]vec
	codes       func(src Mem, c [3]vec) vec // 32 codes as int8; nil c: as they lie
}

func intFormats() []intFormat {
	nibbles := func(offset bool) func(src Mem, c [3]vec) vec {
		return func(src Mem, c [3]vec) vec {
			v := YMM()
			VBROADCASTI128(src, v)
			VPSRLVQ(c[1], v, v)
			VPAND(c[0], v, v)
			if offset {
				VPSUBB(c[2], v, v)
			}
			return v
		}
	}
	constants := func() [3]vec {
		return [3]vec{
			loadY(integers(0x0f0f0f0f)),
			loadY(word("nibble", func(i int) uint32 { return uint32([]int{0, 0, 0, 0, 4, 0, 4, 0}[i%8]) })),
			loadY(integers(0x08080808)),
		}
	}
	return []intFormat{
		{"Q8_0", 34, 2, false, func() [3]vec { return [3]vec{} }, func(src Mem, _ [3]vec) vec { return loadY(src) }},
		{"Q4_0", 18, 2, false, constants, nibbles(true)},
		{"Q4_1", 20, 4, true, constants, nibbles(false)},
	}
}

func loadY(m Mem) vec {
	v := YMM()
	VMOVDQU(m, v)
	return v
}
