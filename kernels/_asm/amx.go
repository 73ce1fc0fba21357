package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// products lists, by the number of planes of a weight, which of its planes
// (high first) are multiplied with which planes of x, smallest first. What is
// left out is below 2^-24 of the product.
var products = [][][2]int{
	1: {{0, 2}, {0, 1}, {0, 0}},
	2: {{1, 1}, {0, 2}, {1, 0}, {0, 1}, {0, 0}},
	3: {{2, 0}, {1, 1}, {0, 2}, {1, 0}, {0, 1}, {0, 0}},
}

func amx() {
	amxProducts()
	amxPackRows()
	amxUnpack()
	amxPackWeights()
	for _, f := range fusedFormats() {
		amxFused(f, true)
		amxFused(f, false)
	}
	amxPackRow()
}

// upperHalves broadcasts the mask of a float32's bfloat16 part.
func upperHalves() reg.VecVirtual {
	g, v := GP32(), ZMM()
	MOVL(U32(0xffff0000), g)
	VPBROADCASTD(g, v)
	return v
}

// split stores the planes of 32 values, in two registers that it spoils: plane
// p holds in each 32-bit word value i (low half) and i+16 (high half).
// Truncation makes each rest exact, so three planes sum to the value.
func split(lo, hi, mask reg.VecVirtual, planes int, at func(plane int) Mem) {
	for p := range planes {
		t := ZMM()
		if p == planes-1 {
			// Nothing of the rest is left below its upper half.
			VPSRLD(Imm(16), lo, t)
			VPTERNLOGD(Imm(0xf8), mask, hi, t) // t | hi & mask
			VMOVUPS(t, at(p))
			return
		}
		a, b := ZMM(), ZMM()
		VPANDD(mask, lo, a)
		VPANDD(mask, hi, b)
		VSUBPS(a, lo, lo)
		VSUBPS(b, hi, hi)
		VPSRLD(Imm(16), a, t)
		VPORD(b, t, t)
		VMOVUPS(t, at(p))
	}
}

// transposeQuad returns rows 4c … 4c+3 of the transpose of 16 × 16 words of 32
// bits, whose rows are 64 bytes apart at src.
func transposeQuad(src reg.Register, disp, c int) [4]reg.VecVirtual {
	return transposeQuadAt(src, disp, 64, c)
}

// transposeQuadAt is transposeQuad for rows that are stride bytes apart.
func transposeQuadAt(src reg.Register, disp, stride, c int) [4]reg.VecVirtual {
	var t, u [4]reg.VecVirtual
	for j := range t {
		at := func(row int) Mem { return Mem{Base: src, Disp: disp + stride*row + 16*c} }
		t[j] = ZMM()
		VBROADCASTF32X4(at(j), t[j])
		VINSERTF32X4(Imm(1), at(4+j), t[j], t[j])
		VINSERTF32X4(Imm(2), at(8+j), t[j], t[j])
		VINSERTF32X4(Imm(3), at(12+j), t[j], t[j])
	}
	for i := range u {
		u[i] = ZMM()
	}
	VUNPCKLPS(t[1], t[0], u[0])
	VUNPCKHPS(t[1], t[0], u[1])
	VUNPCKLPS(t[3], t[2], u[2])
	VUNPCKHPS(t[3], t[2], u[3])
	for i := range t {
		t[i] = ZMM()
	}
	VUNPCKLPD(u[2], u[0], t[0])
	VUNPCKHPD(u[2], u[0], t[1])
	VUNPCKLPD(u[3], u[1], t[2])
	VUNPCKHPD(u[3], u[1], t[3])
	return t
}

// amxPackRows generates the packing of up to 16 rows of float32 activations.
func amxPackRows() {
	TEXT("amxPackRows", 0, "func(dst *byte, sums, x *float32, xStride, rows, cols int)")
	Doc("dst[cols/32][3 planes][16 words][16 rows] = x, word i holding columns i and i+16 of the 32;",
		"sums[cols/32][16 rows] = the rows' sums over 32 columns. Missing rows and columns are 0.")
	Pragma("noescape")
	local := AllocLocal(4096 + 64)
	dst, sums := Load(Param("dst"), GP64()), Load(Param("sums"), GP64())
	x, xs := Load(Param("x"), GP64()), Load(Param("xStride"), GP64())
	cols := Load(Param("cols"), GP64())
	s := GP64()
	LEAQ(local, s)
	ADDQ(Imm(63), s)
	ANDQ(I8(-64), s)
	zero := ZMM()
	VPXORD(zero, zero, zero)
	for i := range 64 {
		VMOVUPS(zero, Mem{Base: s, Disp: 64 * i})
	}
	mask := upperHalves()
	Label("block")
	full, k := GP64(), [2]reg.Register{K(), K()}
	MOVQ(I32(-1), full)
	CMPQ(cols, Imm(32))
	JGE(LabelRef("whole"))
	BZHIQ(cols, full, full)
	Label("whole")
	KMOVW(full.As32(), k[0])
	SHRQ(Imm(16), full)
	KMOVW(full.As32(), k[1])
	p, q, n := GP64(), GP64(), GP64()
	MOVQ(x, p)
	MOVQ(s, q)
	Load(Param("rows"), n)
	Label("row")
	lo, hi, sum := ZMM(), ZMM(), ZMM()
	VMOVUPS_Z(Mem{Base: p}, k[0], lo)
	VMOVUPS_Z(Mem{Base: p, Disp: 64}, k[1], hi)
	VADDPS(hi, lo, sum)
	VMOVUPS(sum, Mem{Base: q, Disp: 3072})
	split(lo, hi, mask, 3, func(plane int) Mem { return Mem{Base: q, Disp: 1024 * plane} })
	ADDQ(xs, p)
	ADDQ(Imm(64), q)
	DECQ(n)
	JNE(LabelRef("row"))
	for plane := range 3 {
		for c := range 4 {
			for i, v := range transposeQuad(s, 1024*plane, c) {
				VMOVUPS(v, Mem{Base: dst, Disp: 1024*plane + 64*(4*c+i)})
			}
		}
	}
	total := ZMM()
	for c := range 4 {
		v := transposeQuad(s, 3072, c)
		VADDPS(v[2], v[0], v[0])
		VADDPS(v[3], v[1], v[1])
		VADDPS(v[1], v[0], v[0])
		if c == 0 {
			VMOVAPS(v[0], total)
		} else {
			VADDPS(v[0], total, total)
		}
	}
	VMOVUPS(total, Mem{Base: sums})
	ADDQ(Imm(64), sums)
	ADDQ(U32(3072), dst)
	ADDQ(U32(128), x)
	SUBQ(Imm(32), cols)
	JGT(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// amxUnpack generates the way back from accumulators to rows.
func amxUnpack() {
	TEXT("amxUnpack", NOSPLIT, "func(dst *float32, dstStride int, acc *float32, rows, outs int)")
	Doc("for r := range rows { for o := range outs { dst[r][o] = acc[o][r] } }, both at most 16.")
	Pragma("noescape")
	dst, ds := Load(Param("dst"), GP64()), Load(Param("dstStride"), GP64())
	acc, rows, outs := Load(Param("acc"), GP64()), Load(Param("rows"), GP64()), Load(Param("outs"), GP64())
	full, k := GP64(), K()
	MOVQ(I32(-1), full)
	BZHIQ(outs, full, full)
	KMOVW(full.As32(), k)
	for c := range 4 {
		for i, v := range transposeQuad(acc, 0, c) {
			VMOVUPS(v, k, Mem{Base: dst})
			if c*4+i == 15 {
				break
			}
			DECQ(rows)
			JEQ(LabelRef("done"))
			ADDQ(ds, dst)
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}
