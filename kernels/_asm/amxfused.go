package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fused describes a format for amxFused.
type fused struct {
	name      string
	planes    int
	bytes     int // of a block of 32
	constants func(table, mask reg.VecPhysical)
	pack      func(src Mem, dst func(plane int) Mem, table, mask reg.VecPhysical, t [6]reg.VecPhysical)
}

func maskConstant(_, mask reg.VecPhysical) {
	MOVL(U32(0xffff0000), reg.R11L)
	VPBROADCASTD(reg.R11L, mask)
}

// splitIn is split with named temporaries.
func splitIn(lo, hi, mask reg.VecPhysical, t []reg.VecPhysical, planes int, at func(plane int) Mem) {
	a, b, c := t[0], t[1], t[2]
	for p := range planes {
		if p == planes-1 {
			VPSRLD(Imm(16), lo, c)
			VPTERNLOGD(Imm(0xf8), mask, hi, c)
			VMOVUPS(c, at(p))
			return
		}
		VPANDD(mask, lo, a)
		VPANDD(mask, hi, b)
		VSUBPS(a, lo, lo)
		VSUBPS(b, hi, hi)
		VPSRLD(Imm(16), a, c)
		VPORD(b, c, c)
		VMOVUPS(c, at(p))
	}
}

func fusedFormats() []fused {
	return []fused{
		{
			name: "F16", planes: 2, bytes: 64, constants: maskConstant,
			pack: func(src Mem, dst func(int) Mem, _, mask reg.VecPhysical, t [6]reg.VecPhysical) {
				VCVTPH2PS(src, t[0])
				VCVTPH2PS(src.Offset(32), t[1])
				splitIn(t[0], t[1], mask, t[2:], 2, dst)
			},
		},
		{
			name: "BF16", planes: 1, bytes: 64,
			constants: func(table, _ reg.VecPhysical) { VMOVDQU32(pairTable(), table) },
			pack: func(src Mem, dst func(int) Mem, table, _ reg.VecPhysical, t [6]reg.VecPhysical) {
				VPERMW(src, table, t[0])
				VMOVUPS(t[0], dst(0))
			},
		},
		{
			name: "F32", planes: 3, bytes: 128, constants: maskConstant,
			pack: func(src Mem, dst func(int) Mem, _, mask reg.VecPhysical, t [6]reg.VecPhysical) {
				VMOVUPS(src, t[0])
				VMOVUPS(src.Offset(64), t[1])
				splitIn(t[0], t[1], mask, t[2:], 3, dst)
			},
		},
	}
}

// pairTable orders 32 words as pairs i, i+16.
func pairTable() Mem {
	if m, ok := constants["pairs"]; ok {
		return m
	}
	m := GLOBL("pairs", RODATA|NOPTR)
	for i := range 32 {
		DATA(2*i, U16(i/2+i%2*16))
	}
	constants["pairs"] = m
	return m
}

var zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}

// amxFused generates the product for at most 16 rows, where packing weights
// costs as much as multiplying them: while the tile unit works on one block, the
// last one's sums are added and the next but one is packed, so that no tile
// is loaded before its stores have left the pipeline. Same arithmetic, in the
// same order, as packing and amxMul. Single is for one row.
func amxFused(f fused, single bool) {
	name := "amxFew" + f.name
	doc := "acc[o] tiles of 16 outputs × 16 rows"
	if single {
		name, doc = "amxOne"+f.name, "acc[o] 16 outputs of the one row"
	}
	TEXT(name, 0, "func(acc *float32, src *byte, rowBytes int, b *byte, scratch *float32, outs, blocks int)")
	Doc("amxPack"+f.name+" and amxMul in one, for "+doc+".",
		"scratch takes 14 KiB.")
	Pragma("noescape")
	bases := []reg.Register{reg.RAX, reg.RBX, reg.RCX, reg.R13}
	stride, row, row3 := reg.RDX, reg.RSI, reg.RDI
	k, cur, next, tmp := reg.R8, reg.R9, reg.R10, reg.R11
	b, ahead, last, four := reg.R12, reg.R14, reg.R15, reg.RBP
	aBytes := 1024 * f.planes
	slot := aBytes + 1024
	dst := AllocLocal(8)
	left := AllocLocal(8)
	if single {
		tileConfigOne()
	} else {
		tileConfig()
	}
	Load(Param("acc"), tmp)
	MOVQ(tmp, dst)
	Load(Param("outs"), tmp)
	MOVQ(tmp, left)
	MOVQ(U32(8), stride) // 64 when scaled by 8
	MOVQ(U32(4), four)
	Load(Param("rowBytes"), row)
	LEAQ(Mem{Base: row, Index: row, Scale: 2}, row3)
	Load(Param("src"), bases[0])
	MOVQ(row, ahead)
	SHLQ(Imm(4), ahead)
	ADDQ(bases[0], ahead)
	Load(Param("scratch"), cur)
	LEAQ(Mem{Base: cur, Disp: slot}, next)
	LEAQ(Mem{Base: next, Disp: slot}, last)
	table, mask := zmm[31], zmm[30]
	if single {
		VMOVDQU32(word("evens", func(i int) uint32 { return uint32(2 * i) }), zmm[1])
	}
	f.constants(table, mask)

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
	packRows := func(slot reg.Register, from, to int) {
		for i := from; i < to; i++ {
			t := [6]reg.VecPhysical(zmm[16+i%2*6:])
			// The next group of outputs, a few lines at a time: a burst would
			// hold up the loads of this one.
			for at := (i*f.bytes + 63) &^ 63; at < (i+1)*f.bytes; at += 64 {
				PREFETCHT1(Mem{Base: ahead, Disp: at})
			}
			f.pack(rowAt(i), func(p int) Mem { return Mem{Base: slot, Disp: 1024*p + 64*i} }, table, mask, t)
		}
		if to == 16 {
			for _, p := range bases {
				ADDQ(U32(uint32(f.bytes)), p)
			}
			ADDQ(U32(uint32(16*f.bytes)), ahead)
		}
	}
	pack := func(slot reg.Register) { packRows(slot, 0, 16) }
	add := func(slot reg.Register) {
		c := func(i int) Mem { return Mem{Base: slot, Disp: aBytes + 64*i} }
		if single {
			// The sums are 8 bytes apart.
			VMOVDQA32(zmm[1], zmm[2])
			VMOVUPS(c(0), zmm[3])
			VPERMI2PS(c(1), zmm[3], zmm[2])
			VADDPS(zmm[2], zmm[0], zmm[0])
			return
		}
		for i := range 16 {
			VADDPS(c(i), zmm[i], zmm[i])
		}
	}

	Label("outs")
	LEAQ(Mem{Base: bases[0], Index: row, Scale: 4}, bases[1])
	LEAQ(Mem{Base: bases[1], Index: row, Scale: 4}, bases[2])
	LEAQ(Mem{Base: bases[2], Index: row, Scale: 4}, bases[3])
	Load(Param("b"), b)
	Load(Param("blocks"), k)
	for i := range 16 {
		if i == 0 || !single {
			VPXORD(zmm[i], zmm[i], zmm[i])
		}
	}
	pack(cur)
	CMPQ(k, Imm(1))
	JEQ(LabelRef("block"))
	pack(next)
	tiles := func(between func(i, n int)) {
		tileZero(0)
		for p := range f.planes {
			tileLoad(byte(1+p), Mem{Base: cur, Disp: 1024 * p, Index: stride, Scale: 8})
		}
		loaded := map[int]bool{}
		for i, pair := range products[f.planes] {
			if !loaded[pair[1]] {
				loaded[pair[1]] = true
				if single {
					tileLoad(byte(4+pair[1]), Mem{Base: b, Disp: 64 * pair[1], Index: four, Scale: 1})
				} else {
					tileLoad(byte(4+pair[1]), Mem{Base: b, Disp: 1024 * pair[1], Index: stride, Scale: 8})
				}
			}
			tileDot(0, byte(1+pair[0]), byte(4+pair[1]))
			between(i, len(products[f.planes]))
		}
		if single {
			tileStore(Mem{Base: cur, Disp: aBytes, Index: stride, Scale: 1}, 0)
		} else {
			tileStore(Mem{Base: cur, Disp: aBytes, Index: stride, Scale: 8}, 0)
		}
	}
	Label("block")
	CMPQ(k, Imm(2))
	JLE(LabelRef("ending"))
	// Packing goes between the tile unit's products, to keep both at work.
	tiles(func(i, n int) { packRows(last, 16*i/n, 16*(i+1)/n) })
	JMP(LabelRef("multiplied"))
	Label("ending")
	tiles(func(int, int) {})
	Label("multiplied")
	Load(Param("blocks"), tmp)
	CMPQ(tmp, k)
	JEQ(LabelRef("added"))
	add(last)
	Label("added")
	MOVQ(cur, tmp)
	MOVQ(next, cur)
	MOVQ(last, next)
	MOVQ(tmp, last)
	if single {
		ADDQ(U32(192), b)
	} else {
		ADDQ(U32(3072), b)
	}
	DECQ(k)
	JNE(LabelRef("block"))
	add(last)
	MOVQ(dst, tmp)
	if single {
		VMOVUPS(zmm[0], Mem{Base: tmp})
		ADDQ(U32(64), tmp)
	} else {
		for i := range 16 {
			VMOVUPS(zmm[i], Mem{Base: tmp, Disp: 64 * i})
		}
		ADDQ(U32(1024), tmp)
	}
	MOVQ(tmp, dst)
	// The last base stands at row 13 of the 16.
	LEAQ(Mem{Base: bases[3], Index: row3, Scale: 1}, bases[0])
	DECQ(left)
	JNE(LabelRef("outs"))
	tileRelease()
	VZEROUPPER()
	RET()
}

// amxPackRow generates the packing of a single row.
func amxPackRow() {
	TEXT("amxPackRow", NOSPLIT, "func(dst *byte, x *float32, cols int)")
	Doc("dst[cols/32][3 planes][16 words] = x, word i holding columns i and i+16 of the 32.")
	Pragma("noescape")
	dst, x, cols := pointer("dst"), pointer("x"), pointer("cols")
	mask := upperHalves()
	Label("block")
	k0, k1 := partMasks(cols)
	lo, hi := ZMM(), ZMM()
	VMOVUPS_Z(Mem{Base: x}, k0, lo)
	VMOVUPS_Z(Mem{Base: x, Disp: 64}, k1, hi)
	split(lo, hi, mask, 3, func(plane int) Mem { return Mem{Base: dst, Disp: 64 * plane} })
	ADDQ(U32(192), dst)
	ADDQ(U32(128), x)
	SUBQ(Imm(32), cols)
	JGT(LabelRef("block"))
	VZEROUPPER()
	RET()
}
