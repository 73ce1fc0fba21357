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
	amxInts(packedInts, 1)
	amxInts(packedInts, 8)
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
	five        bool // a code's fifth bit lies in the 32 bits before the codes
	constants   func() [3]vec
	codes       func(src Mem, c [3]vec) vec // 32 codes as int8; nil c: as they lie
}

// packedInts is what the packing of integer codes writes, with a scale and a minimum.
var packedInts = intFormat{name: "Packed", bytes: 512, affine: true}

func intFormats() []intFormat {
	nibbles := []intFormat{
		{name: "Q4_0", bytes: 18, head: 2},
		{name: "Q4_1", bytes: 20, head: 4, affine: true},
		{name: "Q5_0", bytes: 22, head: 6, five: true},
		{name: "Q5_1", bytes: 24, head: 8, affine: true, five: true},
	}
	for i := range nibbles {
		f := &nibbles[i]
		f.constants = func() [3]vec { return [3]vec{loadY(lowNibbles()), loadY(nibbleShifts()), loadY(f.above())} }
		f.codes = func(src Mem, c [3]vec) vec {
			v := YMM()
			VBROADCASTI128(src, v)
			VPSRLVQ(c[1], v, v)
			VPAND(c[0], v, v)
			f.shift(src, c[2], v, K())
			return v
		}
	}
	return append([]intFormat{
		{name: "Q8_0", bytes: 34, head: 2, constants: func() [3]vec { return [3]vec{} }, codes: func(src Mem, _ [3]vec) vec { return loadY(src) }},
	}, nibbles...)
}

func lowNibbles() Mem { return integers(0x0f0f0f0f) }

// nibbleShifts are by how much sixteen bytes, twice, are moved to the right for 32
// codes: the first of them in their low halves.
func nibbleShifts() Mem {
	return word("nibble", func(i int) uint32 { return uint32([]int{0, 0, 0, 0, 4, 0, 4, 0}[i%8]) })
}

// above is what shift adds to codes or takes off them.
func (f intFormat) above() Mem {
	if f.five {
		return integers(0x10101010)
	}
	return integers(0x08080808)
}

// shift makes the 32 low halves v of the codes at src the codes as int8: with their
// fifth bits, and around zero without a minimum.
func (f intFormat) shift(src Mem, above, v Op, bits reg.Register) {
	switch {
	case f.five && f.affine:
		KMOVD(src.Offset(-4), bits)
		VPADDB(above, v, bits, v)
	case f.five: // what has not the bit is below zero
		KMOVD(src.Offset(-4), bits)
		KNOTD(bits, bits)
		VPSUBB(above, v, bits, v)
	case !f.affine:
		VPSUBB(above, v, v)
	}
}

func loadY(m Mem) vec {
	v := YMM()
	VMOVDQU(m, v)
	return v
}
