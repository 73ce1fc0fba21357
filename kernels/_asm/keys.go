package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// scaledKeys generates what widens the keys of a block of the cache that are
// stored as Q8_0: positions lie side by side, and each has a scale of its own.
func scaledKeys(s isa) {
	TEXT("scaledKeys"+s.suffix, NOSPLIT, "func(dst *float32, codes, scales *byte, dims int)")
	Doc("for i := range dims { for j := range 32 {",
		"\tdst[i][j] = Half(scales[j]) * codes[i][j]",
		"} }, with dst and codes [][32], codes signed bytes.")
	Pragma("noescape")
	dst, codes, scales, n := pointer("dst"), pointer("codes"), pointer("scales"), pointer("dims")
	d := make([]vec, blockLen/s.lanes)
	for i := range d {
		d[i] = s.newRegister()
		VCVTPH2PS(Mem{Base: scales, Disp: i * s.bytes() / 2}, d[i])
	}
	loopStart("dimension")
	for i := range d {
		v := s.newRegister()
		VPMOVSXBD(Mem{Base: codes, Disp: i * s.lanes}, v)
		VCVTDQ2PS(v, v)
		VMULPS(d[i], v, v)
		VMOVUPS(v, Mem{Base: dst, Disp: i * s.bytes()})
	}
	ADDQ(Imm(blockLen), codes)
	ADDQ(U32(4*blockLen), dst)
	DECQ(n)
	JNE(LabelRef("dimension"))
	end()
}
