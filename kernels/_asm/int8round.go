package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// roundRow generates the rounding of a row of activations, for vectors or for tiles.
func roundRow(suffix string) {
	tiles := suffix == "AMX"
	TEXT("int8Round"+suffix, NOSPLIT, "func(dst *byte, step, wide int, x *float32, blocks int)")
	doc, sum, codes := "If wide is not 0, their values in 16 bits lie so many bytes behind each.", roundedSum, Mem{Disp: roundedCodes}
	if tiles {
		doc, sum, codes = "For tiles: their values lie wide bytes behind their scale.", apartSums, Mem{Scale: 1}
	}
	Doc("dst = blocks of 32 activations of x, rounded to 8 bits, step bytes apart: see roundBlock.", doc)
	Pragma("noescape")
	dst, step, wide, x, n := pointer("dst"), pointer("step"), pointer("wide"), pointer("x"), pointer("blocks")
	order := avx2.load(word("int8Order", func(i int) uint32 { return uint32([]int{0, 4, 1, 5, 2, 6, 3, 7}[i%8]) }))
	loopStart("loop")
	var v [4]vec
	var top vec
	for i := range v {
		v[i] = avx2.load(Mem{Base: x, Disp: 32 * i})
		size := YMM()
		VPAND(integers(0x7fffffff), v[i], size)
		if i == 0 {
			top = size
		} else {
			VPMAXSD(size, top, top) // as integers, among which NaN is the largest
		}
	}
	largest, t := XMM(), XMM()
	VEXTRACTI128(Imm(1), top, largest)
	VPMAXSD(top.AsX(), largest, largest)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPSHUFD(Imm(swap), largest, t)
		VPMAXSD(t, largest, largest)
	}
	// What is not above the least counts as 0; the difference makes a NaN of an infinity.
	above, d, inverse, steps := XMM(), XMM(), XMM(), XMM()
	VPCMPGTD(integers(leastRounded), largest, above)
	VMOVSS(constant(127), steps)
	VDIVSS(steps, largest, d)
	VDIVSS(largest, steps, inverse)
	VSUBSS(largest, largest, t)
	VADDSS(t, d, d)
	VPAND(above, d, d)
	VPAND(above, inverse, inverse)
	VMOVSS(d, Mem{Base: dst, Disp: roundedScale})
	factor := YMM()
	VBROADCASTSS(inverse, factor)
	for i := range v {
		VMULPS(factor, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	if codes.Base = dst; tiles {
		codes.Index = wide
	}
	VMOVDQU(v[0], codes)
	// Sums of pairs of columns, by halves of the 32.
	sums, swapped := avx2.load(eachByte(1)), YMM()
	VPMADDUBSW(v[0], sums, sums)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPSHUFD(Imm(swap), sums, swapped)
		VPADDW(swapped, sums, sums)
	}
	low, both := sums.AsX(), XMM()
	high := XMM()
	VEXTRACTI128(Imm(1), sums, high)
	VPADDW(low, high, both)
	VPMADDWD(pairsOf(1), both, t)
	VCVTDQ2PS(t, t)
	VMULSS(d, t, t)
	VMOVSS(t, Mem{Base: dst, Disp: sum})
	ADDQ(I32(128), x)
	if !tiles {
		roundedRest(dst, wide, low, high, both)
	}
	ADDQ(step, dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

// roundedRest stores what vectors take of 32 rounded activations besides: what offsets
// take off sums, of sums by halves and of all, and values in 16 bits.
func roundedRest(dst, wide, low, high, both reg.Register) {
	VPBLENDD(Imm(8), high, low, low)
	VPBLENDD(Imm(3), both, low, low)
	offsets := word("int8Offsets", func(i int) uint32 {
		return uint32(-[]int{8, 16, 32, 32}[i%4]) & 0xffff * 0x00010001
	})
	VPMULLW(offsets, low, low)
	VMOVDQU(low, Mem{Base: dst, Disp: roundedOff})
	TESTQ(wide, wide)
	JEQ(LabelRef("narrow"))
	for i := range 2 {
		v := YMM()
		VPMOVSXBW(Mem{Base: dst, Disp: roundedCodes + 16*i}, v)
		VMOVDQU(v, Mem{Base: dst, Index: wide, Scale: 1, Disp: 32 * i})
	}
	Label("narrow")
}

// leastRounded is 2^-100, as an integer: blocks of nothing larger count as zeros.
const leastRounded = (127 - 100) << 23
