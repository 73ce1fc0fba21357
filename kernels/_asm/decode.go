package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const decodeSignature = "func(dst *float32, src *byte, n int)"

func decoders(s isa) {
	for _, f := range storedFormats {
		switch f.name {
		case "F32":
		case "F16", "BF16":
			decoder(s, f, s.lanes, "Decode(dst[:n], "+f.name+", src) for n a multiple of the lanes.", s.lanes)
		default:
			decoder(s, f, 32, "Decode(dst[:32*n], "+f.name+", src): n blocks.", 1)
		}
	}
	decodeKQuants(s)
}

// decoder generates the decoder of a format, so many values at a time, which
// count for one, or for each of them, in n.
func decoder(s isa, f stored, values int, doc string, counted int) {
	TEXT("decode"+f.name+s.suffix, NOSPLIT, decodeSignature)
	Doc(doc)
	Pragma("noescape")
	dst, src, n := args3()
	Label("loop")
	widen := f.open(s, Mem{Base: src})
	for i := range values / s.lanes {
		VMOVUPS(widen(i), Mem{Base: dst, Disp: i * s.bytes()})
	}
	ADDQ(Imm(uint64(f.bytes*values/32)), src)
	ADDQ(Imm(uint64(4*values)), dst)
	SUBQ(Imm(uint64(counted)), n)
	JGT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func args3() (dst, src, n reg.GPVirtual) {
	return Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
}
