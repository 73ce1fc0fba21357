package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sigmoid returns 1/(1+e**-x) for -x, which it spoils.
func (s isa) sigmoid(negative vec) vec {
	e := s.exp(negative)
	VADDPS(s.constant(1), e, e)
	y := s.copy(1)
	VDIVPS(e, y, y)
	return y
}

func (s isa) negate(x vec) vec {
	y := s.newRegister()
	VMULPS(constant(-1), x, y)
	return y
}

// tanhArgument returns -2√(2/π)(x + 0.044715x³) of the tanh approximation.
func (s isa) tanhArgument(x vec) vec {
	y := s.newRegister()
	VMULPS(x, x, y)
	VMULPS(constant(-2*0.7978845608028654*0.044715), y, y)
	VADDPS(constant(-2*0.7978845608028654), y, y)
	VMULPS(x, y, y)
	return y
}

// erfc returns ½·erfc(|x|/√2) within 3e-7 of it (Numerical Recipes, erfcc).
func (s isa) erfc(x vec) vec {
	z, t := s.newRegister(), s.copy(1)
	VANDPS(integers(0x7fffffff), x, z)
	VMULPS(constant(math.Sqrt2/2), z, z)
	d := s.copy(1)
	VFMADD231PS(constant(0.5), z, d)
	VDIVPS(d, t, t)
	p := s.load(constant(0.17087277))
	for _, c := range []float32{-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223} {
		VFMADD213PS(constant(c), t, p)
	}
	VFNMADD231PS(z, z, p)
	e := s.exp(p)
	VMULPS(t, e, e)
	VMULPS(constant(0.5), e, e)
	return e
}

// phi returns Φ(x): erfc's half for negative x, one less it otherwise.
func (s isa) phi(x vec) vec {
	e := s.erfc(x)
	u := s.copy(1)
	VSUBPS(e, u, u)
	s.where(s.compare(x, lessThan, s.zero()), e, u)
	return u
}

// tanh is odd: a polynomial (Cephes's tanhf) below 0.625, 1 - 2/(e**2|x| + 1)
// beyond.
func (s isa) tanh(x vec) vec {
	size, sign, z, p := s.newRegister(), s.newRegister(), s.newRegister(), s.copy(-5.70498872745e-3)
	VANDPS(integers(0x7fffffff), x, size)
	VANDPS(integers(0x80000000), x, sign)
	VMULPS(x, x, z)
	for _, c := range []float32{2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1} {
		VFMADD213PS(s.constant(c), z, p)
	}
	VMULPS(z, p, p)
	VFMADD213PS(x, x, p)
	small := s.compare(size, lessThan, s.copy(0.625))
	VADDPS(size, size, size)
	e, y := s.exp(size), s.copy(2)
	VADDPS(s.constant(1), e, e)
	VDIVPS(e, y, e)
	VMOVUPS(s.constant(1), y)
	VSUBPS(e, y, y)
	VORPS(sign, y, y)
	s.where(small, p, y)
	return y
}

const (
	lessThan    = 17
	greaterThan = 30
)

// compare returns the mask of a op b, false where either is NaN.
func (s isa) compare(a vec, op uint64, b vec) reg.Register {
	if s.wide {
		k := K()
		VCMPPS(Imm(op), b, a, k)
		return k
	}
	m := s.newRegister()
	VCMPPS(Imm(op), b, a, m)
	return m
}

// where sets dst to v under a mask.
func (s isa) where(mask reg.Register, v, dst vec) {
	if s.wide {
		VMOVAPS(v, mask, dst)
	} else {
		VBLENDVPS(mask, v, dst, dst)
	}
}

// step returns 1 for x > 0, below otherwise.
func (s isa) step(x vec, below float32) vec {
	y := s.copy(below)
	s.where(s.compare(x, greaterThan, s.zero()), s.copy(1), y)
	return y
}

// activations holds the element-wise functions and derivatives.
var activations = []struct {
	name, doc string
	f         func(s isa, x vec) vec
}{
	{"silu", "x·σ(x)", func(s isa, x vec) vec {
		y := s.exp(s.negate(x))
		VADDPS(s.constant(1), y, y)
		VDIVPS(y, x, y)
		return y
	}},
	{"gelu", "x·Φ(x)", func(s isa, x vec) vec {
		y := s.phi(x)
		VMULPS(x, y, y)
		return y
	}},
	{"geluTanh", "x·σ(2√(2/π)(x+0.044715x³))", func(s isa, x vec) vec {
		y := s.exp(s.tanhArgument(x))
		VADDPS(s.constant(1), y, y)
		VDIVPS(y, x, y)
		return y
	}},
	{"sigmoid", "σ(x)", func(s isa, x vec) vec { return s.sigmoid(s.negate(x)) }},
	{"tanh", "tanh(x)", func(s isa, x vec) vec { return s.tanh(x) }},
	{"relu", "max(x, 0)", func(s isa, x vec) vec {
		y := s.zero()
		VMAXPS(x, y, y)
		return y
	}},
	{"leaky", "x > 0 ? x : 0.01·x", func(s isa, x vec) vec {
		y := s.step(x, 0.01)
		VMULPS(x, y, y)
		return y
	}},
	{"dsilu", "σ(x)·(1+x·(1-σ(x)))", func(s isa, x vec) vec {
		y := s.sigmoid(s.negate(x))
		r := s.copy(1)
		VSUBPS(y, r, r)
		VFMADD213PS(constant(1), x, r)
		VMULPS(r, y, y)
		return y
	}},
	{"dgelu", "Φ(x) + x·φ(x)", func(s isa, x vec) vec {
		y := s.phi(x)
		e := s.newRegister()
		VMULPS(x, x, e)
		VMULPS(constant(-0.5), e, e)
		e = s.exp(e)
		VMULPS(constant(0.3989422804014327), e, e)
		VFMADD231PS(x, e, y)
		return y
	}},
	{"dgeluTanh", "the derivative of geluTanh", func(s isa, x vec) vec {
		y := s.sigmoid(s.tanhArgument(x))
		r, u := s.copy(1), s.newRegister()
		VSUBPS(y, r, r)
		// Beyond ±64 the factor σ(1-σ) is 0 and must not meet an infinity.
		VMINPS(x, s.load(constant(64)), x)
		VMAXPS(x, s.load(constant(-64)), x)
		VMULPS(x, x, u)
		VMULPS(constant(2*0.7978845608028654*3*0.044715), u, u)
		VADDPS(constant(2*0.7978845608028654), u, u)
		VMULPS(x, u, u)
		VMULPS(y, r, r)
		VFMADD231PS(u, r, y)
		return y
	}},
	{"dsigmoid", "σ(x)·(1-σ(x))", func(s isa, x vec) vec {
		y := s.sigmoid(s.negate(x))
		r := s.copy(1)
		VSUBPS(y, r, r)
		VMULPS(r, y, y)
		return y
	}},
	{"dtanh", "1 - tanh(x)²", func(s isa, x vec) vec {
		y := s.tanh(x)
		r := s.copy(1)
		VFNMADD231PS(y, y, r)
		return r
	}},
	{"drelu", "x > 0 ? 1 : 0", func(s isa, x vec) vec { return s.step(x, 0) }},
	{"dleaky", "x > 0 ? 1 : 0.01", func(s isa, x vec) vec { return s.step(x, 0.01) }},
}

// activate generates the element-wise functions, alone and as a gate, and
// their derivatives.
func activate(s isa) {
	for _, a := range activations {
		s.element(a.name, "dst x", "", "x := x[i]; dst[i] = "+a.doc, func(v operands) vec { return a.f(s, v("x")) }, expConstants...)
		if a.name[0] == 'd' {
			continue
		}
		s.element(a.name+"Gate", "dst x up", "", "x := x[i]; dst[i] = ("+a.doc+")·up[i]", func(v operands) vec {
			y := a.f(s, v("x"))
			VMULPS(v("up"), y, y)
			return y
		}, expConstants...)
	}
}
