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

// sigmoid returns 1/(1+e**-x) for -x, which it spoils.
func (s isa) sigmoid(negative vec) vec {
	e := s.exp(negative)
	VADDPS(constant(1), e, e)
	y := s.load(constant(1))
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
	z, t := s.newRegister(), s.load(constant(1))
	VANDPS(integers(0x7fffffff), x, z)
	VMULPS(constant(math.Sqrt2/2), z, z)
	d := s.load(constant(1))
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
	u := s.load(constant(1))
	VSUBPS(e, u, u)
	if s.wide {
		k := K()
		VPMOVD2M(x, k)
		VMOVAPS(e, k, u)
	} else {
		VBLENDVPS(x, e, u, u)
	}
	return u
}

// activations holds the element-wise functions and derivatives.
var activations = []struct {
	name, doc string
	f         func(s isa, x vec) vec
}{
	{"silu", "x·σ(x)", func(s isa, x vec) vec {
		y := s.exp(s.negate(x))
		VADDPS(constant(1), y, y)
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
		VADDPS(constant(1), y, y)
		VDIVPS(y, x, y)
		return y
	}},
	{"sigmoid", "σ(x)", func(s isa, x vec) vec { return s.sigmoid(s.negate(x)) }},
	{"dsilu", "σ(x)·(1+x·(1-σ(x)))", func(s isa, x vec) vec {
		y := s.sigmoid(s.negate(x))
		r := s.load(constant(1))
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
		r, u := s.load(constant(1)), s.newRegister()
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
}

// A loop walks arrays of n values, the last step under a mask. Body gets, for
// each array, how to load and store the values at hand.
type lane struct {
	s    isa
	mask reg.Register // nil in whole steps
}

func (l lane) load(p reg.Register) vec { return l.at(Mem{Base: p}) }

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
	switch m := (Mem{Base: p}); {
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

func over(s isa, n reg.Register, arrays []reg.Register, body func(l lane)) {
	step := func(l lane) {
		body(l)
		for _, p := range arrays {
			ADDQ(Imm(uint64(s.bytes())), p)
		}
	}
	SUBQ(Imm(uint64(s.lanes)), n)
	JLT(LabelRef("tail"))
	Label("loop")
	step(lane{s: s})
	SUBQ(Imm(uint64(s.lanes)), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(s.lanes)), n)
	JEQ(LabelRef("done"))
	if s.wide {
		one, k := GP64(), K()
		MOVQ(I32(-1), one)
		BZHIQ(n, one, one)
		KMOVW(one.As32(), k)
		body(lane{s, k})
	} else {
		p, mask := GP64(), YMM()
		LEAQ(tailMask(), p)
		NEGQ(n)
		VMOVUPS(Mem{Base: p, Index: n, Scale: 4, Disp: 32}, mask)
		body(lane{s, mask})
	}
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

// vectors generates the element-wise kernels and reductions.
func vectors(s isa) {
	for _, a := range activations {
		TEXT(a.name+s.suffix, NOSPLIT, "func(dst, x *float32, n int)")
		Doc("for i := range n { dst[i] = " + a.doc + " }, x = x[i].")
		Pragma("noescape")
		dst, x, n := pointer("dst"), pointer("x"), pointer("n")
		over(s, n, []reg.Register{dst, x}, func(l lane) { l.store(a.f(s, l.load(x)), dst) })
		end()
		if a.name[0] == 'd' || a.name == "sigmoid" {
			continue
		}
		TEXT(a.name+"Gate"+s.suffix, NOSPLIT, "func(dst, x, up *float32, n int)")
		Doc("for i := range n { dst[i] = " + a.doc + "·up[i] }, x = x[i].")
		Pragma("noescape")
		dst, x, n = pointer("dst"), pointer("x"), pointer("n")
		up := pointer("up")
		over(s, n, []reg.Register{dst, x, up}, func(l lane) {
			y := a.f(s, l.load(x))
			VMULPS(l.load(up), y, y)
			l.store(y, dst)
		})
		end()
	}

	for _, op := range []struct {
		name, doc string
		f         func(x, d vec)
	}{
		{"add", "dst[i] += x[i]", func(x, d vec) { VADDPS(x, d, d) }},
		{"mul", "dst[i] *= x[i]", func(x, d vec) { VMULPS(x, d, d) }},
	} {
		TEXT(op.name+s.suffix, NOSPLIT, "func(dst, x *float32, n int)")
		Doc("for i := range n { " + op.doc + " }")
		Pragma("noescape")
		dst, x, n := pointer("dst"), pointer("x"), pointer("n")
		over(s, n, []reg.Register{dst, x}, func(l lane) {
			d := l.load(dst)
			op.f(l.load(x), d)
			l.store(d, dst)
		})
		end()
	}

	TEXT("axpy"+s.suffix, NOSPLIT, "func(dst *float32, a float32, x *float32, n int)")
	Doc("for i := range n { dst[i] += a * x[i] } // fused")
	Pragma("noescape")
	dst, x, n := pointer("dst"), pointer("x"), pointer("n")
	a := s.broadcast("a")
	over(s, n, []reg.Register{dst, x}, func(l lane) {
		d := l.load(dst)
		VFMADD231PS(l.load(x), a, d)
		l.store(d, dst)
	})
	end()

	TEXT("quotient"+s.suffix, NOSPLIT, "func(dst, x *float32, a float32, n int)")
	Doc("for i := range n { dst[i] = x[i] / a }")
	Pragma("noescape")
	dst, x, n = pointer("dst"), pointer("x"), pointer("n")
	a = s.broadcast("a")
	over(s, n, []reg.Register{dst, x}, func(l lane) {
		v := l.load(x)
		VDIVPS(a, v, v)
		l.store(v, dst)
	})
	end()

	TEXT("norm"+s.suffix, NOSPLIT, "func(dst, x, weight *float32, mean, scale float32, n int)")
	Doc("for i := range n { dst[i] = weight[i] * ((x[i] - mean) * scale) }")
	Pragma("noescape")
	dst, x, n = pointer("dst"), pointer("x"), pointer("n")
	w := pointer("weight")
	mean, scale := s.broadcast("mean"), s.broadcast("scale")
	over(s, n, []reg.Register{dst, x, w}, func(l lane) {
		v := l.load(x)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VMULPS(l.load(w), v, v)
		l.store(v, dst)
	})
	end()

	TEXT("spread"+s.suffix, NOSPLIT, "func(x *float32, mean float32, n int) float32")
	Doc("for i := range n { ret += (x[i]-mean) * (x[i]-mean) }, in a partial sum for each lane, folded.")
	Pragma("noescape")
	x, n = pointer("x"), pointer("n")
	mean = s.broadcast("mean")
	total := s.zero()
	over(s, n, []reg.Register{x}, func(l lane) {
		v := l.load(x)
		VSUBPS(mean, v, v)
		l.keep(v, s.zero())
		VFMADD231PS(v, v, total)
	})
	Store(fold(s, []vec{total}), ReturnIndex(0))
	end()

	TEXT("sum"+s.suffix, NOSPLIT, "func(x *float32, n int) float32")
	Doc("for i := range n { ret += x[i] }, in a partial sum for each lane, folded.")
	Pragma("noescape")
	x, n = pointer("x"), pointer("n")
	total = s.zero()
	over(s, n, []reg.Register{x}, func(l lane) { VADDPS(l.load(x), total, total) })
	Store(fold(s, []vec{total}), ReturnIndex(0))
	end()

	TEXT("maximum"+s.suffix, NOSPLIT, "func(x *float32, n int) float32")
	Doc("for i := range n { ret = max(ret, x[i]) } from -∞, passing over NaN.")
	Pragma("noescape")
	x, n = pointer("x"), pointer("n")
	top := s.load(constant(float32(math.Inf(-1))))
	over(s, n, []reg.Register{x}, func(l lane) {
		v := l.load(x)
		l.keep(v, s.load(constant(float32(math.Inf(-1)))))
		VMAXPS(top, v, top)
	})
	Store(s.foldMax(top), ReturnIndex(0))
	end()

	TEXT("expSum"+s.suffix, NOSPLIT, "func(dst, x *float32, less float32, n int) float32")
	Doc("for i := range n { dst[i] = exp(x[i] - less); ret += dst[i] }, in a partial sum for each lane, folded.",
		"Without dst, if it is nil.")
	Pragma("noescape")
	dst, x, n = pointer("dst"), pointer("x"), pointer("n")
	less := s.broadcast("less")
	total = s.zero()
	label := 0
	over(s, n, []reg.Register{dst, x}, func(l lane) {
		v := l.load(x)
		VSUBPS(less, v, v)
		e := s.exp(v)
		l.keep(e, s.zero())
		VADDPS(e, total, total)
		flag := GP64()
		Load(Param("dst"), flag)
		TESTQ(flag, flag)
		label++
		skip := fmt.Sprintf("skip%d", label)
		JEQ(LabelRef(skip))
		l.store(e, dst)
		Label(skip)
	})
	Store(fold(s, []vec{total}), ReturnIndex(0))
	end()

	rope(s)
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

func rope(s isa) {
	TEXT("rope"+s.suffix, NOSPLIT, "func(x, cos, sin *float32, half, heads, stride int, sign float32)")
	Doc("for h := range heads { for i := range half {",
		"\ta, b, s := x[i], x[half+i], sign*sin[i]",
		"\tx[i], x[half+i] = a*cos[i]-b*s, b*cos[i]+a*s",
		"}; x = x[stride:] }, for half a multiple of the lanes and stride in bytes.")
	Pragma("noescape")
	x, heads, stride := pointer("x"), pointer("heads"), pointer("stride")
	sign := s.broadcast("sign")
	Label("head")
	cos, sin, n := pointer("cos"), pointer("sin"), pointer("half")
	a, b := GP64(), GP64()
	MOVQ(x, a)
	LEAQ(Mem{Base: x, Index: n, Scale: 4}, b)
	Label("loop")
	u, v := s.load(Mem{Base: a}), s.load(Mem{Base: b})
	c, d := s.load(Mem{Base: cos}), s.load(Mem{Base: sin})
	VMULPS(sign, d, d)
	p, q := s.newRegister(), s.newRegister()
	VMULPS(c, u, p)
	VFNMADD231PS(d, v, p)
	VMULPS(c, v, q)
	VFMADD231PS(d, u, q)
	VMOVUPS(p, Mem{Base: a})
	VMOVUPS(q, Mem{Base: b})
	for _, r := range []reg.Register{a, b, cos, sin} {
		ADDQ(Imm(uint64(s.bytes())), r)
	}
	SUBQ(Imm(uint64(s.lanes)), n)
	JGT(LabelRef("loop"))
	ADDQ(stride, x)
	DECQ(heads)
	JNE(LabelRef("head"))
	end()
}
