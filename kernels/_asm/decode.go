package main

import (
	"fmt"

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
			decoder(s, f, f.values, fmt.Sprintf("Decode(dst[:%d*n], %s, src): n blocks.", f.values, f.name), 1)
		}
	}
}

// decoder generates the decoder of a format, so many values at a time, which
// count for one, or for each of them, in n.
func decoder(s isa, f stored, values int, doc string, counted int) {
	opened := f.begin(s, "decode"+f.name+s.suffix, decodeSignature, 1)[0]
	Doc(doc)
	Pragma("noescape")
	dst, src, n := args3()
	loopStart("loop")
	widen := f.open(s, Mem{Base: src}, opened)
	part := min(values, f.partValues())
	f.eachPart(opened, func() {
		for i := range part / s.lanes {
			VMOVUPS(widen(i), Mem{Base: dst, Disp: i * s.bytes()})
		}
		ADDQ(I32(int32(4*part)), dst)
	})
	ADDQ(I32(int32(f.bytes*values/f.values)), src)
	SUBQ(Imm(uint64(counted)), n)
	JGT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func args3() (dst, src, n reg.GPVirtual) {
	return Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
}
