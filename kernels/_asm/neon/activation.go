package main

import "math"

// sigmoid returns 1/(1+e**-x) for -x, which it spoils.
func (f *file) sigmoid(negative vec) vec {
	e := f.exp(negative)
	f.three("fadd", e, e, f.use(all(1)))
	return f.of("fdiv", f.use(all(1)), e)
}

func (f *file) negate(x vec) vec {
	y := f.vec()
	f.two("fneg", y, x)
	return y
}

func (f *file) magnitude(x vec) vec {
	y := f.vec()
	f.two("fabs", y, x)
	return y
}

// tanhArgument returns -2√(2/π)(x + 0.044715x³) of the tanh approximation.
func (f *file) tanhArgument(x vec) vec {
	y := f.of("fmul", x, x)
	f.three("fmul", y, y, f.use(all(-2*0.7978845608028654*0.044715)))
	f.three("fadd", y, y, f.use(all(-2*0.7978845608028654)))
	f.three("fmul", y, y, x)
	return y
}

// erfc returns ½·erfc(|x|/√2) within 3e-7 of it (Numerical Recipes, erfcc).
func (f *file) erfc(x vec) vec {
	z := f.magnitude(x)
	f.three("fmul", z, z, f.use(all(math.Sqrt2/2)))
	d := f.copy(all(1))
	f.fmla(d, z, f.use(all(0.5)))
	t := f.of("fdiv", f.use(all(1)), d)
	p := f.polynomial(t, []float32{0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223})
	f.fmls(p, z, z)
	e := f.exp(p)
	f.three("fmul", e, e, t)
	f.three("fmul", e, e, f.use(all(0.5)))
	return e
}

// phi returns Φ(x): erfc's half for negative x, one less it otherwise.
func (f *file) phi(x vec) vec {
	e := f.erfc(x)
	u := f.of("fsub", f.use(all(1)), e)
	f.bit(u, e, f.of("fcmgt", f.use(all(0)), x))
	return u
}

// tanh is odd: a polynomial (Cephes's tanhf) below 0.625, 1 - 2/(e**2|x| + 1)
// beyond.
func (f *file) tanh(x vec) vec {
	size := f.magnitude(x)
	z := f.of("fmul", x, x)
	p := f.polynomial(z, []float32{-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1})
	f.three("fmul", p, p, z)
	small := f.vec()
	f.move(small, x)
	f.fmla(small, p, x)
	is := f.of("fcmgt", f.use(all(0.625)), size)
	f.three("fadd", size, size, size)
	e := f.exp(size)
	f.three("fadd", e, e, f.use(all(1)))
	f.three("fdiv", e, f.use(all(2)), e)
	y := f.of("fsub", f.use(all(1)), e)
	f.bit(y, x, f.use(words(func(int) uint32 { return 0x80000000 })))
	f.bit(y, small, is)
	return y
}

// step returns 1 for x > 0, below otherwise.
func (f *file) step(x vec, below float32) vec {
	y := f.copy(all(below))
	f.bit(y, f.use(all(1)), f.of("fcmgt", x, f.use(all(0))))
	return y
}

// activations holds the element-wise functions and derivatives.
var activations = []struct {
	name, doc string
	f         func(f *file, x vec) vec
}{
	{"silu", "x·σ(x)", func(f *file, x vec) vec {
		y := f.exp(f.negate(x))
		f.three("fadd", y, y, f.use(all(1)))
		return f.of("fdiv", x, y)
	}},
	{"gelu", "x·Φ(x)", func(f *file, x vec) vec { return f.of("fmul", f.phi(x), x) }},
	{"geluTanh", "x·σ(2√(2/π)(x+0.044715x³))", func(f *file, x vec) vec {
		y := f.exp(f.tanhArgument(x))
		f.three("fadd", y, y, f.use(all(1)))
		return f.of("fdiv", x, y)
	}},
	{"sigmoid", "σ(x)", func(f *file, x vec) vec { return f.sigmoid(f.negate(x)) }},
	{"tanh", "tanh(x)", (*file).tanh},
	{"relu", "max(x, 0)", func(f *file, x vec) vec { return f.of("fmax", x, f.use(all(0))) }},
	{"leaky", "x > 0 ? x : 0.01·x", func(f *file, x vec) vec { return f.of("fmul", f.step(x, 0.01), x) }},
	{"dsilu", "σ(x)·(1+x·(1-σ(x)))", func(f *file, x vec) vec {
		y := f.sigmoid(f.negate(x))
		r := f.copy(all(1))
		f.fmla(r, f.of("fsub", f.use(all(1)), y), x)
		return f.of("fmul", y, r)
	}},
	{"dgelu", "Φ(x) + x·φ(x)", func(f *file, x vec) vec {
		y := f.phi(x)
		e := f.of("fmul", x, x)
		f.three("fmul", e, e, f.use(all(-0.5)))
		e = f.exp(e)
		f.three("fmul", e, e, f.use(all(0.3989422804014327)))
		f.fmla(y, e, x)
		return y
	}},
	{"dgeluTanh", "the derivative of geluTanh", func(f *file, x vec) vec {
		y := f.sigmoid(f.tanhArgument(x))
		r := f.of("fsub", f.use(all(1)), y)
		// Beyond ±64 the factor σ(1-σ) is 0 and must not meet an infinity.
		f.three("fmin", x, x, f.use(all(64)))
		f.three("fmax", x, x, f.use(all(-64)))
		u := f.of("fmul", x, x)
		f.three("fmul", u, u, f.use(all(2*0.7978845608028654*3*0.044715)))
		f.three("fadd", u, u, f.use(all(2*0.7978845608028654)))
		f.three("fmul", u, u, x)
		f.three("fmul", r, r, y)
		f.fmla(y, r, u)
		return y
	}},
	{"dsigmoid", "σ(x)·(1-σ(x))", func(f *file, x vec) vec {
		y := f.sigmoid(f.negate(x))
		return f.of("fmul", y, f.of("fsub", f.use(all(1)), y))
	}},
	{"dtanh", "1 - tanh(x)²", func(f *file, x vec) vec {
		y, r := f.tanh(x), f.copy(all(1))
		f.fmls(r, y, y)
		return r
	}},
	{"drelu", "x > 0 ? 1 : 0", func(f *file, x vec) vec { return f.step(x, 0) }},
	{"dleaky", "x > 0 ? 1 : 0.01", func(f *file, x vec) vec { return f.step(x, 0.01) }},
}

// activate generates the element-wise functions, alone and as a gate, and
// their derivatives.
func activate(f *file) {
	constants := append(expConstants[:7:7], all(1))
	for _, a := range activations {
		f.element(a.name, "dst x", "", "x := x[i]; dst[i] = "+a.doc, func(v operands) vec { return a.f(f, v.get("x")) }, constants...)
		if a.name[0] == 'd' {
			continue
		}
		f.element(a.name+"Gate", "dst x up", "", "x := x[i]; dst[i] = ("+a.doc+")·up[i]", func(v operands) vec {
			return f.of("fmul", a.f(f, v.get("x")), v.get("up"))
		}, constants...)
	}
}
