package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Blocks that a stage of amxInts runs behind the one before: codes unpacked
// to memory, tiles multiplied, sums scaled. Each waits until the stores before
// it have left the pipeline.
const tilesBehind, scalesBehind = 2, 3

// amxInts generates the product of one row, or of at most 16, with groups of 16
// outputs, the weights read where they lie or, of the format packedInts, as they were
// packed.
func amxInts(f intFormat, rows int) {
	single, packed := rows == 1, f.name == packedInts.name
	behind := 1 // blocks that scaling runs behind the tiles
	name, doc := fmt.Sprintf("amx%dInt%s", rows, f.name), fmt.Sprintf("for %d rows of a group: dst[outs] tiles of 16 outputs × 16 rows.", rows)
	if single {
		behind = scalesBehind
		name, doc = "amxOneInt"+f.name, "for one row, packed by amxPackRowDigits: dst[16*outs]."
	}
	source, before := "src *byte, rowBytes int", "amxPackInt"+f.name+" and amxMulInt "
	if packed {
		source, before = "src *byte, d, m *float32", "amxMulIntAffine "
	}
	TEXT(name, 0, "func(dst *float32, "+source+", b *byte, s *float32, sums int, scratch *byte, outs, blocks int)")
	Doc(before+doc, fmt.Sprintf("outs*blocks is at least %d; scratch, aligned to 64, takes 12 KiB.", tilesBehind+scalesBehind+1))
	Pragma("noescape")
	unpack := f.name != "Q8_0" && !packed
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
	minima := bases[0]
	if packed {
		MOVQ(U32(32), row)
		Load(Param("src"), tiles)
		Load(Param("d"), src)
		Load(Param("m"), minima)
	} else {
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
	if !packed {
		VPBROADCASTD(row.(reg.GPPhysical).As32(), index)
		VMOVDQU32(word("count", func(i int) uint32 { return uint32(i) }), zmm[29])
		VPMULLD(zmm[29], index, index)
	}
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
	nib, shift, above := reg.Y26, reg.Y27, reg.Y28
	if unpack {
		VMOVDQU32(lowNibbles(), nib)
		VMOVDQU32(nibbleShifts(), shift)
		VMOVDQU32(f.above(), above)
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
	// onward moves a pointer from the end of a group's first row to its next. What is
	// packed lies group behind group.
	onward := func(p reg.Register) {
		if packed {
			return
		}
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
			f.shift(rowAt(i).Offset(f.head), above, v, []reg.Register{reg.K5, reg.K6}[i%2])
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
		if !packed { // the next group of outputs, as many lines as this block has
			MOVQ(left["ahead"], tmp)
			for at := 0; at < 16*f.bytes; at += 64 {
				PREFETCHT0(Mem{Base: tmp, Disp: at})
			}
			ADDQ(U32(uint32(16*f.bytes)), left["ahead"])
		}
		codes := byte(3)
		if single {
			codes = 1
		}
		slot(tilesBehind)
		if unpack {
			tileLoad(codes, Mem{Base: tmp, Index: tiles, Scale: 8})
		} else {
			tileLoad(codes, Mem{Base: tiles, Disp: f.head, Index: row, Scale: 1})
			ADDQ(U32(uint32(f.bytes)), tiles)
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
		if packed {
			VMOVUPS(Mem{Base: src}, d)
			VMOVUPS(Mem{Base: minima}, m)
		} else {
			KXNORW(reg.K4, reg.K4, reg.K4)
			VPGATHERDD(Mem{Base: src, Index: index, Scale: 1}, reg.K4, heads)
			VPMOVDW(heads, reg.Y17)
			VCVTPH2PS(reg.Y17, d)
			if f.affine {
				VPSRLD(Imm(16), heads, heads)
				VPMOVDW(heads, reg.Y18)
				VCVTPH2PS(reg.Y18, m)
			}
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
		if packed {
			ADDQ(Imm(64), src)
			ADDQ(Imm(64), minima)
		} else {
			ADDQ(Imm(uint64(f.bytes)), src)
		}
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
