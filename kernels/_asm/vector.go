package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// constant places v sixteen times in memory, for use as a vector operand.
func constant(v float32) Mem {
	return word(fmt.Sprintf("f%08x", math.Float32bits(v)), func(int) uint32 { return math.Float32bits(v) })
}

func word(name string, at func(i int) uint32) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(at(i)))
	}
	constants[name] = m
	return m
}

func integers(v uint32) Mem {
	return word(fmt.Sprintf("i%08x", v), func(int) uint32 { return v })
}

type vec = reg.VecVirtual

// load returns a register with what m holds.
func (s isa) load(m Mem) vec {
	v := s.newRegister()
	VMOVUPS(m, v)
	return v
}

func (s isa) zero() vec {
	v := s.newRegister()
	if s.wide {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
	return v
}

// A lane is a step of a loop over arrays of n values, the last one masked.
type lane struct {
	s    isa
	mask reg.Register // nil in whole steps
	disp int
}

func (l lane) load(p reg.Register) vec { return l.at(Mem{Base: p, Disp: l.disp}) }

func (l lane) at(m Mem) vec {
	v := l.s.newRegister()
	switch {
	case l.mask == nil:
		VMOVUPS(m, v)
	case l.s.wide:
		VMOVUPS_Z(m, l.mask, v)
	default:
		VMASKMOVPS(m, l.mask, v)
	}
	return v
}

func (l lane) store(v vec, p reg.Register) {
	switch m := (Mem{Base: p, Disp: l.disp}); {
	case l.mask == nil:
		VMOVUPS(v, m)
	case l.s.wide:
		VMOVUPS(v, l.mask, m)
	default:
		VMASKMOVPS(v, l.mask, m)
	}
}

// keep sets the lanes of v beyond the end to those of other.
func (l lane) keep(v vec, other vec) {
	switch {
	case l.mask == nil:
	case l.s.wide:
		t := l.s.newRegister()
		VMOVAPS(other, t)
		VMOVAPS(v, l.mask, t)
		VMOVAPS(t, v)
	default:
		VBLENDVPS(l.mask, v, other, v)
	}
}

// over walks arrays of n values, unrolled so many times as far as that goes;
// body gets the step's number, 0 but while unrolled.
func over(s isa, n reg.Register, arrays []reg.Register, unrolled int, body func(l lane, step int)) {
	loop := func(name string, steps int) {
		SUBQ(Imm(uint64(steps*s.lanes)), n)
		JLT(LabelRef(name + "Past"))
		Label(name)
		for i := range steps {
			body(lane{s, nil, i * s.bytes()}, i)
		}
		for _, p := range arrays {
			ADDQ(U32(uint32(steps*s.bytes())), p)
		}
		SUBQ(Imm(uint64(steps*s.lanes)), n)
		JGE(LabelRef(name))
		Label(name + "Past")
		ADDQ(Imm(uint64(steps*s.lanes)), n)
	}
	if unrolled > 1 {
		loop("unrolled", unrolled)
	}
	loop("loop", 1)
	JEQ(LabelRef("done"))
	body(lane{s, s.first(n), 0}, 0)
	Label("done")
}

func pointer(name string) reg.Register { return Load(Param(name), GP64()) }

func (s isa) broadcast(name string) vec {
	x, v := XMM(), s.newRegister()
	Load(Param(name), x)
	VBROADCASTSS(x, v)
	return v
}

func end() {
	VZEROUPPER()
	RET()
}

// foldMax is the largest lane.
func (s isa) foldMax(v vec) vec {
	y := YMM()
	if s.wide {
		VEXTRACTF64X4(Imm(1), v, y)
		VMAXPS(v.AsY(), y, y)
	} else {
		y = v
	}
	x, t := XMM(), XMM()
	if s.wide {
		VEXTRACTF32X4(Imm(1), y, x)
	} else {
		VEXTRACTF128(Imm(1), y, x)
	}
	VMAXPS(y.AsX(), x, x)
	VPERMILPS(Imm(0x4e), x, t)
	VMAXPS(t, x, x)
	VPERMILPS(Imm(0xb1), x, t)
	VMAXPS(t, x, x)
	return x
}
