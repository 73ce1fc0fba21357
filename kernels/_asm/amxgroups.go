package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// groups describes a product of groups of 16 rows with groups of 16 outputs.
type groups struct {
	name, doc      string
	a, b, c        int // bytes of a block's operands and of its sums
	scaled, affine bool
	configure      func()
	tiles          func(a, b, stride reg.Register) // stride holds 8
	store          func(c, stride reg.Register)
	add            func(c reg.Register, i int, t, u, s vecs) // sums of output i, times s, to t
}

type vecs = reg.VecPhysical

// amxGroups generates the product: the tile unit is a block ahead of the
// vectors that scale its sums, across the ends of rows, because a block takes
// longer from loads to sums than the processor can look ahead.
func amxGroups(f groups) {
	TEXT(f.name, 0, "func(acc *float32, a, b *byte, d, m, s *float32, sums, groups, outs, blocks, bStride, sStride, first int)")
	Doc("for g := range groups { for o := range outs { for k := range blocks {",
		"\tacc[g][o] += "+f.doc,
		"} } }",
		"16 outputs × 16 rows at a time, with acc = 0 at first if first is not 0; sums lie at s + sums bytes.",
		"acc has room for one tile more.")
	Pragma("noescape")
	a, b, group := reg.RAX, reg.RBX, reg.RCX
	stride, c, tmp := reg.RDX, reg.RSI, reg.R8
	acc, d, m, s, factors, sums := reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14
	kLead, kLag := reg.R15, reg.RBP
	local := AllocLocal(f.c + 64)
	oLead, oLag, total := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	f.configure()
	LEAQ(local, c)
	ADDQ(Imm(63), c)
	ANDQ(I8(-64), c)
	MOVQ(U32(8), stride)
	Load(Param("acc"), acc)
	Load(Param("a"), a)
	Load(Param("b"), b)
	MOVQ(b, group)
	Load(Param("d"), d)
	Load(Param("m"), m)
	Load(Param("s"), s)
	MOVQ(s, factors)
	Load(Param("sums"), sums)
	Load(Param("blocks"), kLead)
	Load(Param("outs"), tmp)
	MOVQ(tmp, oLead)
	MOVQ(tmp, oLag)
	IMULQ(kLead, tmp)
	Load(Param("groups"), kLag)
	IMULQ(kLag, tmp)
	MOVQ(tmp, total)
	MOVQ(kLead, kLag)
	z := zmm
	base, by := z[31], z[30]
	VMOVUPS(constant(65536), base)

	labels := 0
	label := func() string { labels++; return fmt.Sprintf("l%d", labels) }
	start := func() {
		zero, done := label(), label()
		Load(Param("first"), tmp)
		TESTQ(tmp, tmp)
		JNE(LabelRef(zero))
		for i := range 16 {
			VMOVUPS(Mem{Base: acc, Disp: 64 * i}, z[i])
		}
		JMP(LabelRef(done))
		Label(zero)
		for i := range 16 {
			VPXORD(z[i], z[i], z[i])
		}
		Label(done)
	}
	lead := func() {
		f.tiles(a, b, stride)
		ADDQ(U32(uint32(f.a)), a)
		ADDQ(U32(uint32(f.b)), b)
		more := label()
		DECQ(kLead)
		JNE(LabelRef(more))
		Load(Param("blocks"), kLead)
		MOVQ(group, b)
		DECQ(oLead)
		JNE(LabelRef(more))
		Load(Param("outs"), tmp)
		MOVQ(tmp, oLead)
		Load(Param("bStride"), tmp)
		ADDQ(tmp, group)
		MOVQ(group, b)
		Load(Param("a"), a)
		Label(more)
	}
	lag := func() {
		if f.scaled {
			VMOVUPS(Mem{Base: s}, by)
		}
		if f.affine {
			VMOVUPS(Mem{Base: s, Index: sums, Scale: 1}, z[29])
		}
		for i := range 16 {
			t, u := z[16+i%6*2], z[17+i%6*2]
			if !f.scaled {
				VADDPS(Mem{Base: c, Disp: 64 * i}, z[i], z[i])
				continue
			}
			f.add(c, i, t, u, by)
			VFMADD231PS_BCST(Mem{Base: d, Disp: 4 * i}, t, z[i])
			if f.affine {
				VFMADD231PS_BCST(Mem{Base: m, Disp: 4 * i}, z[29], z[i])
			}
		}
		ADDQ(Imm(64), d)
		ADDQ(Imm(64), m)
		ADDQ(Imm(64), s)
		more, same := label(), label()
		DECQ(kLag)
		JNE(LabelRef(more))
		for i := range 16 {
			VMOVUPS(z[i], Mem{Base: acc, Disp: 64 * i})
		}
		ADDQ(U32(1024), acc)
		Load(Param("blocks"), kLag)
		MOVQ(factors, s)
		DECQ(oLag)
		JNE(LabelRef(same))
		Load(Param("outs"), tmp)
		MOVQ(tmp, oLag)
		Load(Param("sStride"), tmp)
		ADDQ(tmp, factors)
		MOVQ(factors, s)
		Load(Param("d"), d)
		Load(Param("m"), m)
		Label(same)
		start()
		Label(more)
	}
	start()
	lead()
	f.store(c, stride)
	DECQ(total)
	JEQ(LabelRef("last"))
	Label("main")
	lead()
	lag()
	f.store(c, stride)
	DECQ(total)
	JNE(LabelRef("main"))
	Label("last")
	lag()
	tileRelease()
	VZEROUPPER()
	RET()
}

func amxProducts() {
	for _, p := range []struct {
		name   string
		planes int
	}{
		{"amxMul1", 1},
		{"amxMul2", 2},
		{"amxMul3", 3},
	} {
		amxGroups(groups{
			name: p.name, doc: "Σ a[o][k]·b[g][k] planes", a: 1024 * p.planes, b: 3072, c: 1024,
			configure: tileConfig,
			tiles: func(a, b, stride reg.Register) {
				tileZero(0)
				for i := range p.planes {
					tileLoad(byte(1+i), Mem{Base: a, Disp: 1024 * i, Index: stride, Scale: 8})
				}
				loaded := map[int]bool{}
				for _, pair := range products[p.planes] {
					if !loaded[pair[1]] {
						loaded[pair[1]] = true
						tileLoad(byte(4+pair[1]), Mem{Base: b, Disp: 1024 * pair[1], Index: stride, Scale: 8})
					}
					tileDot(0, byte(1+pair[0]), byte(4+pair[1]))
				}
			},
			store: func(c, stride reg.Register) { tileStore(Mem{Base: c, Index: stride, Scale: 8}, 0) },
		})
	}
}

func amxIntProducts() {
	for _, affine := range []bool{false, true} {
		f := groups{
			name: "amxMulInt", doc: "d[o][k] * s[g][k] * (65536*h + 256*m + l), of h, m, l = Σ a[o][k]·b[g][k] digits",
			a: 512, b: 1536, c: 3072, scaled: true, affine: affine, configure: configureInt,
			tiles: func(a, b, stride reg.Register) {
				tileLoad(3, Mem{Base: a, Index: stride, Scale: 4})
				for p := range 3 {
					tileZero(byte(p))
					tileLoad(byte(4+p), Mem{Base: b, Disp: 512 * p, Index: stride, Scale: 8})
					tileDotInt8(byte(p), 3, byte(4+p))
				}
			},
			store: func(c, stride reg.Register) {
				for p := range 3 {
					tileStore(Mem{Base: c, Disp: 1024 * p, Index: stride, Scale: 8}, byte(p))
				}
			},
			add: func(c reg.Register, i int, t, u, s vecs) {
				VPSLLD(Imm(8), Mem{Base: c, Disp: 1024 + 64*i}, t)
				VPADDD(Mem{Base: c, Disp: 2048 + 64*i}, t, t)
				VCVTDQ2PS(t, t)
				VCVTDQ2PS(Mem{Base: c, Disp: 64 * i}, u)
				VFMADD231PS(zmm[31], u, t)
				VMULPS(s, t, t)
			},
		}
		if affine {
			f.name, f.doc = f.name+"Affine", f.doc+", + m[o][k] * sums[g][k]"
		}
		amxGroups(f)
	}
}
