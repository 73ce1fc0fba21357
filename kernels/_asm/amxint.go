package main

import (
	"fmt"

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
	for _, q := range kQuants[:2] {
		row(q.name, "dst = the codes of n blocks of 256 of rows of "+q.name+", 512 bytes for 32; the caller sets d and m.")
		eachRow(func(dst, src, _, _ reg.Register) {
			n := pointer("n")
			Label("loop")
			for j := range 8 {
				for i := 0; i < 32; i += 16 {
					x := XMM()
					VPMOVDB(q.codes(avx512, src, j, i), x)
					VMOVDQU(x, Mem{Base: dst, Disp: 512*j + i})
				}
			}
			ADDQ(U32(4096), dst)
			ADDQ(U32(uint32(q.bytes)), src)
			DECQ(n)
			JNE(LabelRef("loop"))
		})
	}
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

// Blocks that a stage of amxInts runs behind the one before: codes unpacked
// to memory, tiles multiplied, sums scaled. Each waits until the stores before
// it have left the pipeline.
const tilesBehind, scalesBehind = 2, 3

// amxInts generates the product of one row, or of at most 16, with groups of 16
// outputs, the weights read where they lie.
func amxInts(f intFormat, rows int) {
	single := rows == 1
	behind := 1 // blocks that scaling runs behind the tiles
	doc := fmt.Sprintf("for %d rows of a group: dst[outs] tiles of 16 outputs × 16 rows.", rows)
	if single {
		behind = scalesBehind
		TEXT("amxOneInt"+f.name, 0, "func(dst *float32, src *byte, rowBytes int, b *byte, s *float32, sums int, scratch *byte, outs, blocks int)")
		doc = "for one row, packed by amxPackRowDigits: dst[16*outs]."
	} else {
		TEXT(fmt.Sprintf("amx%dInt%s", rows, f.name), 0, "func(dst *float32, src *byte, rowBytes int, b *byte, s *float32, sums int, scratch *byte, outs, blocks int)")
	}
	Doc("amxPackInt"+f.name+" and amxMulInt "+doc, fmt.Sprintf("outs*blocks is at least %d; scratch, aligned to 64, takes 12 KiB.", tilesBehind+scalesBehind+1))
	Pragma("noescape")
	unpack := f.name != "Q8_0"
	bases := []reg.Register{reg.RAX, reg.RBX, reg.RCX, reg.RDX}
	row, row3, stride, tmp := reg.RSI, reg.RDI, reg.R8, reg.R9
	ring, b, src, s, sums := reg.R10, reg.R11, reg.R12, reg.R13, reg.R14
	tiles, slots := reg.R15, reg.RBP
	// Of a group: the tiles' sums, and scales and minima.
	sumsAt, pair := Mem{Base: slots, Disp: 8192}, Mem{Base: slots, Disp: 8192 + 3072}
	names := []string{"unpack", "tile", "scale", "dst", "total", "ahead"}
	left := map[string]Mem{}
	for _, n := range names {
		left[n] = AllocLocal(8)
	}
	if single {
		configureIntOne()
	} else if rows == 8 {
		configureTiles("tileShapeInt8", [8]int{32, 32, 32, 32, 32, 32, 32, 64}, [8]int{16, 16, 16, 16, 8, 8, 8, 16})
	} else {
		configureInt()
	}
	Load(Param("blocks"), tmp)
	for _, n := range names[:3] {
		MOVQ(tmp, left[n])
	}
	Load(Param("outs"), reg.RCX)
	IMULQ(reg.RCX, tmp)
	SUBQ(Imm(uint64(tilesBehind+behind)), tmp)
	MOVQ(tmp, left["total"])
	Load(Param("dst"), tmp)
	MOVQ(tmp, left["dst"])
	Load(Param("rowBytes"), row)
	LEAQ(Mem{Base: row, Index: row, Scale: 2}, row3)
	Load(Param("src"), src)
	MOVQ(src, bases[0])
	MOVQ(src, tiles)
	MOVQ(row, tmp)
	SHLQ(Imm(4), tmp)
	ADDQ(src, tmp)
	MOVQ(tmp, left["ahead"])
	for i := 1; i < 4; i++ {
		LEAQ(Mem{Base: bases[i-1], Index: row, Scale: 4}, bases[i])
	}
	Load(Param("b"), b)
	Load(Param("s"), s)
	Load(Param("sums"), sums)
	Load(Param("scratch"), slots)
	XORQ(ring, ring)
	bBytes, sBytes := 1536, 64
	if single {
		MOVQ(U32(12), stride)
		bBytes, sBytes = 96, 4
	} else {
		MOVQ(U32(8), stride)
	}
	if unpack {
		MOVQ(U32(4), tiles) // 32 when scaled by 8
	}

	base, index := zmm[31], zmm[30]
	VMOVUPS(constant(65536), base)
	VPBROADCASTD(row.(reg.GPPhysical).As32(), index)
	VMOVDQU32(word("count", func(i int) uint32 { return uint32(i) }), zmm[29])
	VPMULLD(zmm[29], index, index)
	accs := 16
	if single {
		accs = 1
	}
	clearAll := func() {
		for i := range accs {
			VPXORD(zmm[i], zmm[i], zmm[i])
		}
	}
	clearAll()
	pick := [3][2]reg.VecPhysical{{zmm[20], zmm[21]}, {zmm[22], zmm[23]}, {zmm[24], zmm[25]}}
	late := []reg.Register{reg.K1, reg.K2, reg.K3}
	if single {
		// The sums lie as [16 outputs][3 digits] in three registers: digit j of
		// outputs whose 3i+j is below 32 in the first two.
		for j, k := range late {
			VMOVDQU32(word(fmt.Sprintf("pick%d", j), func(i int) uint32 { return uint32(3*i+j) & 31 }), pick[j][0])
			VMOVDQU32(word(fmt.Sprintf("pickLast%d", j), func(i int) uint32 { return uint32(3*i+j) & 15 }), pick[j][1])
			mask := 0
			for i := range 16 {
				if 3*i+j >= 32 {
					mask |= 1 << i
				}
			}
			MOVL(U32(uint32(mask)), tmp.(reg.GPPhysical).As32())
			KMOVW(tmp.(reg.GPPhysical).As32(), k)
		}
	}
	nib, shift, eight := reg.Y26, reg.Y27, reg.Y28
	if unpack {
		VMOVDQU32(integers(0x0f0f0f0f), nib)
		VMOVDQU32(word("nibble", func(i int) uint32 { return uint32([]int{0, 0, 0, 0, 4, 0, 4, 0}[i%8]) }), shift)
		VMOVDQU32(integers(0x08080808), eight)
	}
	labels := 0
	label := func() string { labels++; return fmt.Sprintf("l%d", labels) }

	// z is a register as wide as the rows.
	z := func(i int) reg.VecPhysical {
		if rows == 8 {
			return zmm[i].AsY().(reg.VecPhysical)
		}
		return zmm[i]
	}
	// slot leaves in tmp the ring's slot so many blocks back.
	slot := func(back int) {
		LEAQ(Mem{Base: ring, Disp: -1024 * back}, tmp)
		ANDQ(U32(7*1024), tmp)
		ADDQ(slots, tmp)
	}
	rowAt := func(i int) Mem {
		m := Mem{Base: bases[i/4]}
		switch i % 4 {
		case 1:
			m.Index, m.Scale = row, 1
		case 2:
			m.Index, m.Scale = row, 2
		case 3:
			m.Index, m.Scale = row3, 1
		}
		return m
	}
	// onward moves a pointer from the end of a group's first row to its next.
	onward := func(p reg.Register) {
		LEAQ(Mem{Base: p, Index: row3, Scale: 4}, p)
		ADDQ(row3, p)
	}
	rewind := func(name string) (more string) {
		more = label()
		DECQ(left[name])
		JNE(LabelRef(more))
		Load(Param("blocks"), tmp)
		MOVQ(tmp, left[name])
		return more
	}
	stageUnpack := func() {
		if !unpack {
			return
		}
		slot(0)
		for i := range 16 {
			v := []reg.VecPhysical{reg.Y16, reg.Y17, reg.Y18, reg.Y19}[i%4]
			VBROADCASTI32X4(rowAt(i).Offset(f.head), v)
			VPSRLVQ(shift, v, v)
			VPANDD(nib, v, v)
			if !f.affine {
				VPSUBB(eight, v, v)
			}
			VMOVDQU32(v, Mem{Base: tmp, Disp: 32 * i})
		}
		for _, p := range bases {
			ADDQ(Imm(uint64(f.bytes)), p)
		}
		more := rewind("unpack")
		for _, p := range bases {
			onward(p)
		}
		Label(more)
	}
	stageTile := func() {
		// The next group of outputs, as many lines as this block has.
		MOVQ(left["ahead"], tmp)
		for at := 0; at < 16*f.bytes; at += 64 {
			PREFETCHT0(Mem{Base: tmp, Disp: at})
		}
		ADDQ(U32(uint32(16*f.bytes)), left["ahead"])
		codes := byte(3)
		if single {
			codes = 1
		}
		slot(tilesBehind)
		if unpack {
			tileLoad(codes, Mem{Base: tmp, Index: tiles, Scale: 8})
		} else {
			tileLoad(codes, Mem{Base: tiles, Disp: f.head, Index: row, Scale: 1})
			ADDQ(Imm(uint64(f.bytes)), tiles)
		}
		if single {
			tileZero(0)
			tileLoad(2, Mem{Base: b, Index: stride, Scale: 1})
			tileDotInt8(0, codes, 2)
			tileStore(Mem{Base: tmp, Disp: 512, Index: stride, Scale: 1}, 0)
		} else {
			for p := range 3 {
				tileZero(byte(p))
				tileLoad(byte(4+p), Mem{Base: b, Disp: 512 * p, Index: stride, Scale: 8})
				tileDotInt8(byte(p), codes, byte(4+p))
			}
		}
		ADDQ(U32(uint32(bBytes)), b)
		more := rewind("tile")
		Load(Param("b"), b)
		if !unpack {
			onward(tiles)
		}
		Label(more)
	}
	storeTiles := func() {
		if single {
			return
		}
		for p := range 3 {
			tileStore(Mem{Base: slots, Disp: sumsAt.Disp + 1024*p, Index: stride, Scale: 8}, byte(p))
		}
	}
	stageScale := func() {
		heads, d, m := zmm[16], zmm[17], zmm[18]
		KXNORW(reg.K4, reg.K4, reg.K4)
		VPGATHERDD(Mem{Base: src, Index: index, Scale: 1}, reg.K4, heads)
		VPMOVDW(heads, reg.Y17)
		VCVTPH2PS(reg.Y17, d)
		if f.affine {
			VPSRLD(Imm(16), heads, heads)
			VPMOVDW(heads, reg.Y18)
			VCVTPH2PS(reg.Y18, m)
		}
		if single {
			acc := zmm[0]
			slot(tilesBehind + behind)
			c := []reg.VecPhysical{zmm[4], zmm[5], zmm[6]}
			for i := range c {
				VMOVDQU32(Mem{Base: tmp, Disp: 512 + 64*i}, c[i])
			}
			v := []reg.VecPhysical{zmm[8], zmm[9], zmm[10]}
			for j := range v {
				VMOVDQA32(pick[j][0], v[j])
				VPERMI2D(c[1], c[0], v[j])
				VPERMD(c[2], pick[j][1], late[j], v[j])
			}
			t := v[1]
			VPSLLD(Imm(8), t, t)
			VPADDD(v[2], t, t)
			VCVTDQ2PS(t, t)
			VCVTDQ2PS(v[0], v[0])
			VFMADD231PS(base, v[0], t)
			VMULPS_BCST(Mem{Base: s}, t, t)
			VFMADD231PS(d, t, acc)
			if f.affine {
				VFMADD231PS_BCST(Mem{Base: s, Index: sums, Scale: 1}, m, acc)
			}
		} else {
			VMOVUPS(d, pair)
			if f.affine {
				VMOVUPS(m, pair.Offset(64))
			}
			by, total := z(29), z(25)
			VMOVUPS(Mem{Base: s}, by)
			if f.affine {
				VMOVUPS(Mem{Base: s, Index: sums, Scale: 1}, total)
			}
			for i := range 16 {
				t, u := z(16+i%4*2), z(17+i%4*2)
				VPSLLD(Imm(8), sumsAt.Offset(1024+64*i), t)
				VPADDD(sumsAt.Offset(2048+64*i), t, t)
				VCVTDQ2PS(t, t)
				VCVTDQ2PS(sumsAt.Offset(64*i), u)
				VFMADD231PS(z(31), u, t)
				VMULPS(by, t, t)
				VFMADD231PS_BCST(pair.Offset(4*i), t, z(i))
				if f.affine {
					VFMADD231PS_BCST(pair.Offset(64+4*i), total, z(i))
				}
			}
		}
		ADDQ(Imm(uint64(f.bytes)), src)
		ADDQ(Imm(uint64(sBytes)), s)
		more := rewind("scale")
		MOVQ(left["dst"], tmp)
		for i := range accs {
			VMOVUPS(z(i), Mem{Base: tmp, Disp: 64 * i})
		}
		ADDQ(U32(uint32(64*accs)), tmp)
		MOVQ(tmp, left["dst"])
		clearAll()
		onward(src)
		Load(Param("s"), s)
		Label(more)
	}
	step := func() { ADDQ(U32(1024), ring) }

	for range tilesBehind {
		stageUnpack()
		step()
	}
	for range behind {
		stageUnpack()
		stageTile()
		storeTiles()
		step()
	}
	Label("main")
	stageTile()
	stageScale()
	storeTiles()
	stageUnpack()
	step()
	DECQ(left["total"])
	JNE(LabelRef("main"))
	for range tilesBehind {
		stageTile()
		stageScale()
		storeTiles()
		step()
	}
	for range behind {
		stageScale()
		step()
	}
	tileRelease()
	VZEROUPPER()
	RET()
}

// configureInt shapes 0 to 2, sums, as whole tiles; 3, codes, as 16 rows of 32
// bytes; and 4 to 6, digits, as 8 rows.
func configureInt() {
	configureTiles("tileShapeInt", [8]int{64, 64, 64, 32, 64, 64, 64, 64}, [8]int{16, 16, 16, 16, 8, 8, 8, 16})
}

// configureIntOne shapes 0, sums, as 16 rows of three; 1, codes, as 16 rows of
// 32 bytes; and 2, digits, as 8 rows of three.
func configureIntOne() {
	configureTiles("tileShapeIntOne", [8]int{12, 32, 12, 64, 64, 64, 64, 64}, [8]int{16, 16, 8, 16, 16, 16, 16, 16})
}
