package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const decodeSignature = "func(dst *float32, src *byte, n int)"

func decoders(s isa) {
	decodeFloats(s)
	decodeBlocks(s)
	decodeKQuants(s)
}

// decodeFloats generates the decoders of F16 and BF16.
func decodeFloats(s isa) {
	for _, f := range []struct {
		name string
		load func(m Mem, v reg.VecVirtual)
	}{
		{"F16", func(m Mem, v reg.VecVirtual) { VCVTPH2PS(m, v) }},
		{"BF16", func(m Mem, v reg.VecVirtual) { VPMOVZXWD(m, v); VPSLLD(Imm(16), v, v) }},
	} {
		TEXT("decode"+f.name+s.suffix, NOSPLIT, decodeSignature)
		Doc("Decode(dst[:n], " + f.name + ", src) for n a multiple of the lanes.")
		Pragma("noescape")
		dst, src, n := args3()
		Label("loop")
		v := s.newRegister()
		f.load(Mem{Base: src}, v)
		VMOVUPS(v, Mem{Base: dst})
		ADDQ(Imm(uint64(2*s.lanes)), src)
		ADDQ(Imm(uint64(4*s.lanes)), dst)
		SUBQ(Imm(uint64(s.lanes)), n)
		JGT(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
}

func args3() (dst, src, n reg.GPVirtual) {
	return Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
}

// halfAt broadcasts the binary16 value at m.
func halfAt(s isa, m Mem) reg.VecVirtual {
	g, x, v := GP32(), XMM(), s.newRegister()
	MOVWLZX(m, g)
	VMOVD(g, x)
	VCVTPH2PS(x, x)
	VBROADCASTSS(x, v)
	return v
}

// decodeBlocks generates the decoders of blocks of 32 with one scale.
func decodeBlocks(s isa) {
	begin := func(name string) (dst, src, n reg.GPVirtual) {
		TEXT("decode"+name+s.suffix, NOSPLIT, decodeSignature)
		Doc("Decode(dst[:32*n], " + name + ", src): n blocks.")
		Pragma("noescape")
		return args3()
	}
	end := func(dst, src, n reg.GPVirtual, bytes int) {
		ADDQ(Imm(uint64(bytes)), src)
		ADDQ(Imm(128), dst)
		DECQ(n)
		JNE(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}

	dst, src, n := begin("Q8_0")
	Label("loop")
	d := halfAt(s, Mem{Base: src})
	for i := 0; i < 32; i += s.lanes {
		v := s.newRegister()
		VPMOVSXBD(Mem{Base: src, Disp: 2 + i}, v)
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		VMOVUPS(v, Mem{Base: dst, Disp: 4 * i})
	}
	end(dst, src, n, 34)

	for _, q4 := range []struct {
		name  string
		at    int
		bytes int
	}{{"Q4_0", 2, 18}, {"Q4_1", 4, 20}} {
		dst, src, n := begin(q4.name)
		mask, eight := constantB(15), reg.VecVirtual(nil)
		if q4.name == "Q4_0" {
			eight = constantB(8)
		}
		Label("loop")
		d := halfAt(s, Mem{Base: src})
		var m reg.VecVirtual
		if q4.name == "Q4_1" {
			m = halfAt(s, Mem{Base: src, Disp: 2})
		}
		q, hi := XMM(), XMM()
		VMOVDQU(Mem{Base: src, Disp: q4.at}, q)
		VPSRLW(Imm(4), q, hi)
		VPAND(mask, q, q)
		VPAND(mask, hi, hi)
		for i, codes := range []reg.VecVirtual{q, hi} {
			if eight != nil {
				VPSUBB(eight, codes, codes)
			}
			for j := 0; j < 16; j += s.lanes {
				v := s.newRegister()
				if j > 0 {
					VPSRLDQ(Imm(8), codes, codes)
				}
				VPMOVSXBD(codes, v)
				VCVTDQ2PS(v, v)
				VMULPS(d, v, v)
				if m != nil {
					VADDPS(m, v, v)
				}
				VMOVUPS(v, Mem{Base: dst, Disp: 64*i + 4*j})
			}
		}
		end(dst, src, n, q4.bytes)
	}
}

// constantB broadcasts a byte over 16.
func constantB(b byte) reg.VecVirtual {
	g, x := GP32(), XMM()
	MOVL(U32(uint32(b)*0x01010101), g)
	VMOVD(g, x)
	VPBROADCASTD(x, x)
	return x
}
