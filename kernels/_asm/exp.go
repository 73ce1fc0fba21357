package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// The exponential is 2ⁿ·p(r) with x = n·ln2 + r, |r| ≤ ln2/2, and p a minimax
// polynomial. TestExp has the same in Go, with the same bits.
const (
	expLow  = -87.33654022216797 // beneath it results would be subnormal: they are 0
	expHigh = 88.72283172607422  // beyond it they are +∞
	round   = 3 << 22            // added, it leaves an integer in the low bits
	ln2High = 0.693147182464599609375
	ln2Low  = -1.904654323148236017e-9
)

var expPolynomial = []float32{0.0013950603, 0.0083689535, 0.041666204, 0.16666518, 0.5, 1, 1}

// held are the constants that registers hold while a kernel runs.
var held = map[uint32]vec{}

// hold keeps constants in registers where there are enough of them.
func (s isa) hold(values ...float32) {
	if !s.wide {
		return
	}
	for _, v := range values {
		if held[math.Float32bits(v)] == nil {
			held[math.Float32bits(v)] = s.load(constant(v))
		}
	}
}

var expConstants = append([]float32{expLow, math.Log2E, round, ln2High, ln2Low}, expPolynomial...)

func (s isa) release() { clear(held) }

// constant is an operand of v in every lane.
func (s isa) constant(v float32) Op {
	if r := held[math.Float32bits(v)]; r != nil {
		return r
	}
	return constant(v)
}

// copy returns a register with v in every lane.
func (s isa) copy(v float32) vec {
	x := s.newRegister()
	VMOVUPS(s.constant(v), x)
	return x
}

// exp returns e**x, spoiling x, within 1.1 units in the last place.
func (s isa) exp(x vec) vec {
	if s.wide {
		// The second operand, x, is the result if it is NaN.
		VMINPS(x, s.copy(89), x)
		return s.expBelow(x)
	}
	over := s.newRegister()
	VCMPPS(Imm(30), s.constant(expHigh), x, over)
	VMINPS(x, s.copy(expHigh), x)
	y := s.expBelow(x)
	VBLENDVPS(over, s.copy(float32(math.Inf(1))), y, y)
	return y
}

// expBelow is exp for x below 80, -∞ or NaN.
func (s isa) expBelow(x vec) vec {
	n, t, p, y := s.newRegister(), s.copy(round), s.copy(expPolynomial[0]), s.newRegister()
	if s.wide {
		keep := K()
		VCMPPS(Imm(5), s.constant(expLow), x, keep) // not less
		s.expTerms(x, n, t, p)
		VSCALEFPS_Z(n, p, keep, y)
		return y
	}
	under := s.newRegister()
	VCMPPS(Imm(1), s.constant(expLow), x, under)
	VMAXPS(x, s.copy(expLow), x)
	s.expTerms(x, n, t, p)
	VPSLLD(Imm(23), t, t)
	VPADDD(t, p, y)
	VANDNPS(y, under, y)
	VCMPPS(Imm(3), x, x, n) // NaN
	VBLENDVPS(n, x, y, y)
	return y
}

// expTerms sets n, and in the low bits of t, to the power of two and p to the
// polynomial; x becomes r.
func (s isa) expTerms(x, n, t, p vec) {
	VFMADD231PS(s.constant(math.Log2E), x, t)
	VSUBPS(s.constant(round), t, n)
	VFNMADD231PS(s.constant(ln2High), n, x)
	VFNMADD231PS(s.constant(ln2Low), n, x)
	for _, c := range expPolynomial[1:] {
		VFMADD213PS(s.constant(c), x, p)
	}
}
