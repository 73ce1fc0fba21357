package main

import (
	"math"

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
	halfTo := func(src Mem, dst Mem) {
		g, x := GP32(), XMM()
		MOVWLZX(src, g)
		VMOVD(g, x)
		VCVTPH2PS(x, x)
		VMOVSS(x, dst)
	}
	codes := func(m Mem, n Mem, dst Mem) {
		lo, hi := ZMM(), ZMM()
		VPMOVSXBD(m, lo)
		VPMOVSXBD(n, hi)
		VCVTDQ2PS(lo, lo)
		VCVTDQ2PS(hi, hi)
		VPSRLD(Imm(16), lo, lo)
		VPORD(hi, lo, lo)
		VMOVUPS(lo, dst)
	}

	dst, src, d, _, n := begin("Q8_0", "dst = the codes, d = the scales of a row of Q8_0,")
	Label("loop")
	halfTo(Mem{Base: src}, Mem{Base: d})
	codes(Mem{Base: src, Disp: 2}, Mem{Base: src, Disp: 18}, Mem{Base: dst})
	end(dst, src, d, nil, n, 1, 34)

	for _, q := range []struct {
		name          string
		offset, bytes int
		at            int
	}{{"Q4_0", -8, 18, 2}, {"Q4_1", 0, 20, 4}} {
		dst, src, d, m, n := begin(q.name, "dst = the codes, d and m = the scales and minima of a row of "+q.name+",")
		t := codeTable(q.name, q.offset)
		table, nibbles, g := ZMM(), ZMM(), GP32()
		VMOVDQU32(t, table)
		MOVL(U32(0x000f000f), g)
		VPBROADCASTD(g, nibbles)
		Label("loop")
		halfTo(Mem{Base: src}, Mem{Base: d})
		if q.name == "Q4_1" {
			halfTo(Mem{Base: src, Disp: 2}, Mem{Base: m})
		} else {
			m = nil
		}
		v, u := ZMM(), ZMM()
		VPMOVZXBD(Mem{Base: src, Disp: q.at}, v)
		VPSLLD(Imm(12), v, u)
		VPTERNLOGD(Imm(0xa8), nibbles, v, u) // (u | v) & nibbles
		VPERMW(table, u, u)
		VMOVUPS(u, Mem{Base: dst})
		end(dst, src, d, m, n, 1, q.bytes)
	}

	dst, src, _, _, n = begin("BF16", "dst = a row of BF16,")
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

// bfloat is a small integer in bfloat16.
func bfloat(v int) uint16 {
	return uint16(math.Float32bits(float32(v)) >> 16)
}
