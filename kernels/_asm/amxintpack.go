package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// amxPackDigits generates the packing of up to 16 rows.
func amxPackDigits() {
	TEXT("amxPackDigits", 0, "func(dst *byte, s *float32, sums int, x *float32, xStride, rows, cols int)")
	Doc("dst[cols/32][3 digits, high first][8][16 rows][4] = x in digits, s[cols/32][16 rows] their factors;",
		"at s + sums bytes, the rows' sums over 32 columns. Missing rows and columns are 0.")
	Pragma("noescape")
	local := AllocLocal(1536 + 1024 + 64 + 64)
	dst, s, sums := pointer("dst"), pointer("s"), pointer("sums")
	x, xs, cols := pointer("x"), pointer("xStride"), pointer("cols")
	c := GP64()
	LEAQ(local, c)
	ADDQ(Imm(63), c)
	ANDQ(I8(-64), c)
	zero := ZMM()
	VPXORD(zero, zero, zero)
	for i := range 41 {
		VMOVUPS(zero, Mem{Base: c, Disp: 64 * i})
	}
	Label("block")
	k0, k1 := partMasks(cols)
	p, q, n := GP64(), GP64(), GP64()
	rowsOf := func(name string, body func(lo, hi vec)) {
		MOVQ(x, p)
		MOVQ(c, q)
		Load(Param("rows"), n)
		Label(name)
		lo, hi := ZMM(), ZMM()
		VMOVUPS_Z(Mem{Base: p}, k0, lo)
		VMOVUPS_Z(Mem{Base: p, Disp: 64}, k1, hi)
		body(lo, hi)
		ADDQ(xs, p)
		DECQ(n)
		JNE(LabelRef(name))
	}
	// The largest magnitude of each row, by the transpose of sixteen of them.
	rowsOf("largest", func(lo, hi vec) {
		VPANDD(integers(0x7fffffff), lo, lo)
		VPANDD(integers(0x7fffffff), hi, hi)
		VPMAXUD(lo, hi, hi)
		VMOVDQU32(hi, Mem{Base: q, Disp: 1536})
		ADDQ(Imm(64), q)
	})
	across := func(f func(a, b, d vec)) vec {
		all := ZMM()
		for quad := range 4 {
			v := transposeQuadAt(c, 1536, 64, quad)
			f(v[1], v[0], v[0])
			f(v[3], v[2], v[2])
			f(v[2], v[0], v[0])
			if quad == 0 {
				VMOVDQA32(v[0], all)
			} else {
				f(v[0], all, all)
			}
		}
		return all
	}
	factor, inverse := factors(across(func(a, b, d vec) { VPMAXUD(a, b, d) }))
	VMOVUPS(factor, Mem{Base: s})
	VMOVUPS(inverse, Mem{Base: c, Disp: 2560})
	r := GP64()
	LEAQ(Mem{Base: c, Disp: 2560}, r)
	rowsOf("row", func(lo, hi vec) {
		by := ZMM()
		VBROADCASTSS(Mem{Base: r}, by)
		VMULPS(by, lo, lo)
		VMULPS(by, hi, hi)
		VCVTPS2DQ(lo, lo)
		VCVTPS2DQ(hi, hi)
		sum := ZMM()
		VPADDD(lo, hi, sum)
		// Over the row's largest magnitudes, which are done with: 64 bytes a
		// row, of which the digits take 32.
		t := GP64()
		LEAQ(Mem{Base: q, Index: q, Scale: 1}, t)
		SUBQ(c, t)
		VMOVDQU32(sum, Mem{Base: t, Disp: 1536})
		for i, v := range digits(lo, hi) {
			VMOVDQU(v, Mem{Base: q, Disp: 512 * (2 - i)})
		}
		ADDQ(Imm(32), q)
		ADDQ(Imm(4), r)
	})
	total := across(func(a, b, d vec) { VPADDD(a, b, d) })
	VCVTDQ2PS(total, total)
	VMOVUPS(Mem{Base: s}, factor)
	VMULPS(factor, total, total)
	VMOVUPS(total, Mem{Base: s, Index: sums, Scale: 1})
	for digit := range 3 {
		for quad := range 2 {
			for i, v := range transposeQuadAt(c, 512*digit, 32, quad) {
				VMOVUPS(v, Mem{Base: dst, Disp: 512*digit + 64*(4*quad+i)})
			}
		}
	}
	ADDQ(Imm(64), s)
	ADDQ(U32(1536), dst)
	ADDQ(U32(128), x)
	SUBQ(Imm(32), cols)
	JGT(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// amxPackRowDigits generates the packing of one row for amxInts.
func amxPackRowDigits() {
	TEXT("amxPackRowDigits", NOSPLIT, "func(dst *byte, s *float32, sums int, x *float32, cols int)")
	Doc("dst[cols/32][8][3 digits, high first][4] = x in digits, s[cols/32] the factors and, sums bytes on, the sums.")
	Pragma("noescape")
	dst, s, sums := pointer("dst"), pointer("s"), pointer("sums")
	x, cols := pointer("x"), pointer("cols")
	index := YMM()
	VMOVDQU(word("twelves", func(i int) uint32 { return uint32(12 * i) }), index)
	Label("block")
	k0, k1 := partMasks(cols)
	lo, hi := ZMM(), ZMM()
	VMOVUPS_Z(Mem{Base: x}, k0, lo)
	VMOVUPS_Z(Mem{Base: x, Disp: 64}, k1, hi)
	a, top := ZMM(), ZMM()
	VPANDD(integers(0x7fffffff), lo, a)
	VPANDD(integers(0x7fffffff), hi, top)
	VPMAXUD(a, top, top)
	fold16(top, func(a, b, d vec) { VPMAXUD(a, b, d) })
	factor, inverse := factors(top)
	VMULPS(inverse, lo, lo)
	VMULPS(inverse, hi, hi)
	VCVTPS2DQ(lo, lo)
	VCVTPS2DQ(hi, hi)
	sum := ZMM()
	VPADDD(lo, hi, sum)
	fold16(sum, func(a, b, d vec) { VPADDD(a, b, d) })
	VCVTDQ2PS(sum, sum)
	VMULPS(factor, sum, sum)
	for i, v := range digits(lo, hi) {
		all := K()
		KXNORW(all, all, all)
		VPSCATTERDD(v, all, Mem{Base: dst, Index: index, Scale: 1, Disp: 4 * (2 - i)})
	}
	VMOVSS(factor.AsX(), Mem{Base: s})
	VMOVSS(sum.AsX(), Mem{Base: s, Index: sums, Scale: 1})
	ADDQ(Imm(4), s)
	ADDQ(Imm(96), dst)
	ADDQ(U32(128), x)
	SUBQ(Imm(32), cols)
	JGT(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// amxPackInts generates the packing of weights' codes as int8.
func amxPackInts() {
	row := func(name, doc string) {
		TEXT("amxPackInt"+name, NOSPLIT, "func(dst, src *byte, rowBytes int, d, m *float32, rows, n int)")
		Doc(doc)
		Pragma("noescape")
	}
	// eachRow runs body for the rows of a group, with the addresses of a row.
	eachRow := func(body func(dst, src, d, m reg.Register)) {
		to, from, rows := pointer("dst"), pointer("src"), pointer("rows")
		rowBytes, scales, minima := pointer("rowBytes"), pointer("d"), pointer("m")
		Label("row")
		dst, src, d, m := GP64(), GP64(), GP64(), GP64()
		MOVQ(to, dst)
		MOVQ(from, src)
		MOVQ(scales, d)
		MOVQ(minima, m)
		body(dst, src, d, m)
		ADDQ(Imm(32), to)
		ADDQ(rowBytes, from)
		ADDQ(Imm(4), scales)
		ADDQ(Imm(4), minima)
		DECQ(rows)
		JNE(LabelRef("row"))
		end()
	}
	halfTo := func(src, dst Mem) {
		g, x := GP32(), XMM()
		MOVWLZX(src, g)
		VMOVD(g, x)
		VCVTPH2PS(x, x)
		VMOVSS(x, dst)
	}
	for _, f := range intFormats() {
		row(f.name, "dst = the codes, d and m = the scales and minima of rows of "+f.name+"; n blocks, 512 and 64 bytes apart, rows 32 and 4.")
		consts := f.constants()
		eachRow(func(dst, src, d, m reg.Register) {
			n := pointer("n")
			Label("loop")
			halfTo(Mem{Base: src}, Mem{Base: d})
			if f.affine {
				halfTo(Mem{Base: src, Disp: 2}, Mem{Base: m})
				ADDQ(Imm(64), m)
			}
			VMOVDQU(f.codes(Mem{Base: src, Disp: f.head}, consts), Mem{Base: dst})
			ADDQ(U32(512), dst)
			ADDQ(Imm(uint64(f.bytes)), src)
			ADDQ(Imm(64), d)
			DECQ(n)
			JNE(LabelRef("loop"))
		})
	}
	amxPackKInt("Q4_K", 144, 0)
	amxPackKInt("Q5_K", 176, 16)
}

// amxPackKInt generates the packing of a k-quant of a scale and a minimum for each 32,
// with the fifth bits of its codes at high; 0: codes have four.
func amxPackKInt(name string, bytes, high int) {
	TEXT("amxPackInt"+name, 0, "func(dst, src *byte, rowBytes int, d, m *float32, rows, n int)")
	Doc("dst = the codes of n blocks of 256 of at most 16 rows of "+name+", 512 bytes for 32, rows 32 apart; d and m =",
		"the scales and minima, 64 bytes for 32, rows 4 apart.")
	Pragma("noescape")
	scales := AllocLocal(16 * 64) // of a row: eight scales, eight minima
	dst, src, d, m, n := pointer("dst"), pointer("src"), pointer("d"), pointer("m"), pointer("n")
	rowBytes, group := pointer("rowBytes"), pointer("rowBytes")
	SHLQ(Imm(4), group)
	nib, fifth := loadY(lowNibbles()), loadY(integers(0x10101010))
	each := avx512.load(word("scaleOrMinimum", func(i int) uint32 { return uint32(i / 8) }))
	below := avx512.load(word("signOfMinima", func(i int) uint32 { return uint32(i/8) << 31 }))
	zero := avx512.zero()
	for i := range 16 {
		VMOVUPS(zero, scales.Offset(64*i))
	}
	Label("blocks")
	from, to, at, rows := GP64(), GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	LEAQ(scales, at)
	Load(Param("rows"), rows)
	Label("rows")
	var bits vec
	codes := 16
	if high > 0 {
		bits, codes = loadY(Mem{Base: from, Disp: high}), 48
	}
	for line := 0; line < bytes; line += 64 {
		PREFETCHT0(Mem{Base: from, Index: group, Scale: 1, Disp: line})
	}
	for j := range 8 {
		v := loadY(Mem{Base: from, Disp: codes + j/2*32})
		if j%2 == 1 {
			VPSRLW(Imm(4), v, v)
		}
		VPAND(nib, v, v)
		if high > 0 {
			h := YMM()
			if j < 4 {
				VPSLLW(Imm(uint64(4-j)), bits, h)
			} else {
				VPSRLW(Imm(uint64(j-4)), bits, h)
			}
			VPTERNLOGD(Imm(0xf8), fifth, h, v) // v | h & fifth
		}
		VMOVDQU(v, Mem{Base: to, Disp: 512 * j})
	}

	// Six bits of each. Of the first four scales and minima they are the low ones of four
	// bytes each; of the others, four bits lie in the last four bytes, and two above those.
	part := func(i, shift, mask int) reg.GPVirtual {
		g := GP32()
		MOVL(Mem{Base: from, Disp: 4 + 4*i}, g)
		if shift > 0 {
			SHRL(Imm(uint64(shift)), g)
		}
		ANDL(U32(uint32(mask)), g)
		return g
	}
	both := func(low, high reg.GPVirtual) reg.GPVirtual {
		SHLL(Imm(4), high)
		ORL(high, low)
		return low
	}
	all, six := XMM(), 0x3f3f3f3f
	VMOVD(part(0, 0, six), all)
	VPINSRD(Imm(1), both(part(2, 0, 0x0f0f0f0f), part(0, 6, 0x03030303)), all, all)
	VPINSRD(Imm(2), part(1, 0, six), all, all)
	VPINSRD(Imm(3), both(part(2, 4, 0x0f0f0f0f), part(1, 6, 0x03030303)), all, all)
	integer, half, factor := ZMM(), XMM(), ZMM()
	VPMOVZXBD(all, integer)
	VCVTDQ2PS(integer, integer)
	VMOVD(Mem{Base: from}, half)
	VCVTPH2PS(half, half)
	VPERMPS(half.AsZ(), each, factor)
	VPXORD(below, factor, factor)
	VMULPS(factor, integer, integer)
	VMOVUPS(integer, Mem{Base: at})
	ADDQ(rowBytes, from)
	ADDQ(Imm(32), to)
	ADDQ(Imm(64), at)
	DECQ(rows)
	JNE(LabelRef("rows"))
	LEAQ(scales, at)
	for c := range 4 {
		for i, v := range transposeQuad(at, 0, c) {
			if j := 4*c + i; j < 8 {
				VMOVUPS(v, Mem{Base: d, Disp: 64 * j})
			} else {
				VMOVUPS(v, Mem{Base: m, Disp: 64 * (j - 8)})
			}
		}
	}
	ADDQ(U32(uint32(bytes)), src)
	ADDQ(U32(4096), dst)
	ADDQ(U32(512), d)
	ADDQ(U32(512), m)
	DECQ(n)
	JNE(LabelRef("blocks"))
	end()
}
