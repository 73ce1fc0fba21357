package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// peaks generates what MeasurePeak times.
func peaks(s isa) {
	TEXT("fmaPeak"+s.suffix, NOSPLIT, "func(n int)")
	Doc("n times twelve independent multiply-adds of a vector.")
	n := Load(Param("n"), GP64())
	acc := make([]vec, 12)
	for i := range acc {
		acc[i] = s.zero()
	}
	x, y := s.zero(), s.zero()
	Label("loop")
	for _, v := range acc {
		VFMADD231PS(x, y, v)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	end()

	TEXT("readAll"+s.suffix, NOSPLIT, "func(p *byte, n int)")
	Doc("reads n × 512 bytes.")
	Pragma("noescape")
	p, n := pointer("p"), Load(Param("n"), GP64())
	v := s.newRegister()
	Label("loop")
	for i := 0; i < 512; i += s.bytes() {
		VMOVUPS(Mem{Base: p, Disp: i}, v)
	}
	ADDQ(U32(512), p)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}
