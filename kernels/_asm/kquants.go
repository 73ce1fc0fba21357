package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A codes yields codes of a k-quant block of 256 as 32-bit integers, a vector
// of them for sub-block j of 32 starting at code i.
type codes func(s isa, block reg.Register, j, i int) vec

// masked returns v shifted right and masked, in place.
func masked(s isa, v vec, shift, mask int) vec {
	if shift > 0 {
		VPSRLD(Imm(uint64(shift)), v, v)
	}
	if s.wide {
		VPANDD(integers(uint32(mask)), v, v)
	} else {
		VPAND(integers(uint32(mask)), v, v)
	}
	return v
}

func or(s isa, a, b vec) {
	if s.wide {
		VPORD(a, b, b)
	} else {
		VPOR(a, b, b)
	}
}

func widenBytes(s isa, m Mem) vec {
	v := s.newRegister()
	VPMOVZXBD(m, v)
	return v
}

func nibblesOf(at int) codes {
	return func(s isa, block reg.Register, j, i int) vec {
		return masked(s, widenBytes(s, Mem{Base: block, Disp: at + j/2*32 + i}), j%2*4, 15)
	}
}

func codesQ5K(s isa, block reg.Register, j, i int) vec {
	v := nibblesOf(48)(s, block, j, i)
	h := masked(s, widenBytes(s, Mem{Base: block, Disp: 16 + i}), j, 1)
	VPSLLD(Imm(4), h, h)
	or(s, h, v)
	return v
}

func codesQ6K(s isa, block reg.Register, j, i int) vec {
	half, part := j/4, j%4
	v := masked(s, widenBytes(s, Mem{Base: block, Disp: 64*half + part%2*32 + i}), part/2*4, 15)
	h := masked(s, widenBytes(s, Mem{Base: block, Disp: 128 + 32*half + i}), 2*part, 3)
	VPSLLD(Imm(4), h, h)
	or(s, h, v)
	VPSUBD(integers(32), v, v)
	return v
}

var kQuants = []struct {
	name  string
	bytes int
	codes codes
}{
	{"Q4_K", 144, nibblesOf(16)},
	{"Q5_K", 176, codesQ5K},
	{"Q6_K", 210, codesQ6K},
}
