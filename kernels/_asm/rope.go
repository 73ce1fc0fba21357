package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func rope(s isa) {
	TEXT("rope"+s.suffix, NOSPLIT, "func(x, cos, sin *float32, half, heads, stride int, sign float32)")
	Doc("for h := range heads { for i := range half {",
		"\ta, b, s := x[i], x[half+i], sign*sin[i]",
		"\tx[i], x[half+i] = a*cos[i]-b*s, b*cos[i]+a*s",
		"}; x = x[stride:] }, with stride in bytes.")
	Pragma("noescape")
	x, heads, stride := pointer("x"), pointer("heads"), pointer("stride")
	sign := s.broadcast("sign")
	Label("head")
	cos, sin, n := pointer("cos"), pointer("sin"), pointer("half")
	a, b := GP64(), GP64()
	MOVQ(x, a)
	LEAQ(Mem{Base: x, Index: n, Scale: 4}, b)
	over(s, n, []reg.Register{a, b, cos, sin}, 1, func(l lane, _ int) {
		u, v, c, d := l.load(a), l.load(b), l.load(cos), l.load(sin)
		VMULPS(sign, d, d)
		p, q := s.newRegister(), s.newRegister()
		VMULPS(c, u, p)
		VFNMADD231PS(d, v, p)
		VMULPS(c, v, q)
		VFMADD231PS(d, u, q)
		l.store(p, a)
		l.store(q, b)
	})
	ADDQ(stride, x)
	DECQ(heads)
	JNE(LabelRef("head"))
	end()
}
