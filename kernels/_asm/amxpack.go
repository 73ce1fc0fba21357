package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// amxPackWeights generates, for each format, the packing of one row of weights
// into tiles: row o of block k of dst.
func amxPackWeights() {
	signature := "func(dst *byte, src *byte, d, m *float32, n int)"
	begin := func(name, doc string) (dst, src, d, m, n reg.Register) {
		TEXT("amxPack"+name, NOSPLIT, signature)
		Doc(doc, "for n blocks of 32, those of dst planes × 1024 bytes apart, those of d and m 64.")
		Pragma("noescape")
		return Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("d"), GP64()), Load(Param("m"), GP64()), Load(Param("n"), GP64())
	}
	end := func(dst, src, d, m, n reg.Register, planes, bytes int) {
		ADDQ(U32(uint32(1024*planes)), dst)
		ADDQ(U32(uint32(bytes)), src)
		if d != nil {
			ADDQ(Imm(64), d)
		}
		if m != nil {
			ADDQ(Imm(64), m)
		}
		DECQ(n)
		JNE(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
	dst, src, _, _, n := begin("BF16", "dst = a row of BF16,")
	t := pairTable()
	order := ZMM()
	VMOVDQU32(t, order)
	Label("loop")
	v := ZMM()
	VPERMW(Mem{Base: src}, order, v)
	VMOVUPS(v, Mem{Base: dst})
	end(dst, src, nil, nil, n, 1, 64)

	dst, src, _, _, n = begin("F16", "dst = two planes of a row of F16,")
	mask := upperHalves()
	Label("loop")
	lo, hi := ZMM(), ZMM()
	VCVTPH2PS(Mem{Base: src}, lo)
	VCVTPH2PS(Mem{Base: src, Disp: 32}, hi)
	split(lo, hi, mask, 2, func(plane int) Mem { return Mem{Base: dst, Disp: 1024 * plane} })
	end(dst, src, nil, nil, n, 2, 64)

	dst, src, _, _, n = begin("F32", "dst = three planes of a row of F32,")
	mask = upperHalves()
	Label("loop")
	lo, hi = ZMM(), ZMM()
	VMOVUPS(Mem{Base: src}, lo)
	VMOVUPS(Mem{Base: src, Disp: 64}, hi)
	split(lo, hi, mask, 3, func(plane int) Mem { return Mem{Base: dst, Disp: 1024 * plane} })
	end(dst, src, nil, nil, n, 3, 128)
}
