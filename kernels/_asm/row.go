package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// vectors generates the element-wise kernels and reductions.
func vectors(s isa) {
	activate(s)
	rows(s)
	rowSums(s)
	maximum(s)
	expSums(s)
	rope(s)
}

// operands gives a kernel's body its arrays' values at hand and its scalars.
type operands func(name string) vec

// begin starts a kernel over arrays and scalars, each a list of names.
func (s isa) begin(name, result, arrays, scalars string, doc ...string) (pointers map[string]reg.Register, values map[string]vec) {
	signature := strings.Join(strings.Fields(arrays), ", ") + " *float32, "
	if scalars != "" {
		signature += strings.Join(strings.Fields(scalars), ", ") + " float32, "
	}
	TEXT(name+s.suffix, NOSPLIT, strings.TrimSpace("func("+signature+"n int) "+result))
	Doc(doc...)
	Pragma("noescape")
	pointers, values = map[string]reg.Register{}, map[string]vec{}
	for _, a := range strings.Fields(arrays) {
		pointers[a] = pointer(a)
	}
	for _, c := range strings.Fields(scalars) {
		values[c] = s.broadcast(c)
	}
	return pointers, values
}

func registers(pointers map[string]reg.Register, arrays string) []reg.Register {
	var all []reg.Register
	for _, a := range strings.Fields(arrays) {
		all = append(all, pointers[a])
	}
	return all
}

// element generates a kernel that sets each element of the first array; doc is
// the body of its loop and perhaps, after " // ", a remark.
func (s isa) element(name, arrays, scalars, doc string, f func(v operands) vec, constants ...float32) {
	doc, remark, remarked := strings.Cut(doc, " // ")
	if remarked {
		remark = " // " + remark
	}
	pointers, values := s.begin(name, "", arrays, scalars, "for i := range n { "+doc+" }"+remark)
	s.hold(constants...)
	dst := strings.Fields(arrays)[0]
	over(s, pointer("n"), registers(pointers, arrays), 1, func(l lane, _ int) {
		l.store(f(func(name string) vec {
			if p := pointers[name]; p != nil {
				return l.load(p)
			}
			return values[name]
		}), pointers[dst])
	})
	s.release()
	end()
}

// reduction generates a kernel that sums over four registers of lanes, folded
// at the end. What a masked step loads beyond the end is 0.
func (s isa) reduction(name, arrays, scalars, doc string, f func(l lane, v operands, sum vec)) {
	pointers, values := s.begin(name, "float32", arrays, scalars,
		"for i := range n { "+doc+" }, in a partial sum for each lane of four registers, folded.")
	sums := []vec{s.zero(), s.zero(), s.zero(), s.zero()}
	over(s, pointer("n"), registers(pointers, arrays), 4, func(l lane, step int) {
		f(l, func(name string) vec {
			if p := pointers[name]; p != nil {
				return l.load(p)
			}
			return values[name]
		}, sums[step])
	})
	Store(fold(s, []vec{s.add4(sums)}), ReturnIndex(0))
	end()
}

func (s isa) add4(v []vec) vec {
	VADDPS(v[1], v[0], v[0])
	VADDPS(v[3], v[2], v[2])
	VADDPS(v[2], v[0], v[0])
	return v[0]
}

func rows(s isa) {
	s.element("add", "dst x", "", "dst[i] += x[i]", func(v operands) vec {
		d := v("dst")
		VADDPS(v("x"), d, d)
		return d
	})
	s.element("mul", "dst x", "", "dst[i] *= x[i]", func(v operands) vec {
		d := v("dst")
		VMULPS(v("x"), d, d)
		return d
	})
	s.element("mulAdd", "dst x y", "", "dst[i] += x[i] * y[i] // fused", func(v operands) vec {
		d := v("dst")
		VFMADD231PS(v("x"), v("y"), d)
		return d
	})
	s.element("axpy", "dst x", "a", "dst[i] += a * x[i] // fused", func(v operands) vec {
		d := v("dst")
		VFMADD231PS(v("x"), v("a"), d)
		return d
	})
	s.element("scale", "dst x", "a", "dst[i] = x[i] * a", func(v operands) vec {
		x := v("x")
		VMULPS(v("a"), x, x)
		return x
	})
	s.element("quotient", "dst x", "a", "dst[i] = x[i] / a", func(v operands) vec {
		x := v("x")
		VDIVPS(v("a"), x, x)
		return x
	})
	s.element("norm", "dst x weight", "mean scale", "dst[i] = weight[i] * ((x[i] - mean) * scale)", func(v operands) vec {
		x := v("x")
		VSUBPS(v("mean"), x, x)
		VMULPS(v("scale"), x, x)
		VMULPS(v("weight"), x, x)
		return x
	})
	s.element("normGrad", "dst dy x weight", "mean scale a b",
		"dst[i] += (weight[i]*dy[i] - a - b*((x[i]-mean)*scale)) * scale", func(v operands) vec {
			x, w, d := v("x"), v("weight"), v("dst")
			VSUBPS(v("mean"), x, x)
			VMULPS(v("scale"), x, x)
			VMULPS(v("dy"), w, w)
			VSUBPS(v("a"), w, w)
			VFNMADD231PS(v("b"), x, w)
			VFMADD231PS(v("scale"), w, d)
			return d
		})
	s.element("normWeightGrad", "dst dy x", "mean scale", "dst[i] += dy[i] * ((x[i] - mean) * scale)", func(v operands) vec {
		x, d := v("x"), v("dst")
		VSUBPS(v("mean"), x, x)
		VMULPS(v("scale"), x, x)
		VFMADD231PS(v("dy"), x, d)
		return d
	})

	s.reduction("dotRow", "x y", "", "ret += x[i] * y[i]", func(_ lane, v operands, sum vec) {
		VFMADD231PS(v("x"), v("y"), sum)
	})
	s.reduction("dot3", "x y z", "mean", "ret += x[i] * y[i] * (z[i] - mean)", func(_ lane, v operands, sum vec) {
		x, z := v("x"), v("z")
		VMULPS(v("y"), x, x)
		VSUBPS(v("mean"), z, z)
		VFMADD231PS(z, x, sum)
	})
	s.reduction("sum", "x", "", "ret += x[i]", func(_ lane, v operands, sum vec) { VADDPS(v("x"), sum, sum) })
	s.reduction("spread", "x", "mean", "ret += (x[i]-mean) * (x[i]-mean)", func(l lane, v operands, sum vec) {
		x := v("x")
		VSUBPS(v("mean"), x, x)
		l.keep(x, s.zero())
		VFMADD231PS(x, x, sum)
	})
	s.reduction("finite", "x", "", "ret += x[i] - x[i]", func(_ lane, v operands, sum vec) {
		x := v("x")
		VSUBPS(x, x, x)
		VADDPS(x, sum, sum)
	})
}

// maximum generates the search for the largest value.
func maximum(s isa) {
	lowest := float32(math.Inf(-1))
	pointers, _ := s.begin("maximum", "float32", "x", "", "for i := range n { ret = max(ret, x[i]) } from -∞, passing over NaN.")
	tops := make([]vec, 4)
	for i := range tops {
		tops[i] = s.load(constant(lowest))
	}
	over(s, pointer("n"), registers(pointers, "x"), 4, func(l lane, step int) {
		v := l.load(pointers["x"])
		l.keep(v, s.load(constant(lowest)))
		VMAXPS(tops[step], v, tops[step]) // tops where v is NaN
	})
	for _, t := range tops[1:] {
		VMAXPS(tops[0], t, tops[0])
	}
	Store(s.foldMax(tops[0]), ReturnIndex(0))
	end()
}

// expSums generates the sums of exponentials, with and without keeping them.
func expSums(s isa) {
	for _, store := range []bool{false, true} {
		name, arrays, doc := "expSum", "x", "ret += exp(x[i] - less)"
		if store {
			name, arrays, doc = "expShift", "dst x", "dst[i] = exp(x[i] - less); ret += dst[i]"
		}
		pointers, values := s.begin(name, "float32", arrays, "less",
			fmt.Sprintf("for i := range n { %s }, in a partial sum for each lane of four registers, folded.", doc))
		sums := []vec{s.zero(), s.zero(), s.zero(), s.zero()}
		s.hold(expConstants...)
		over(s, pointer("n"), registers(pointers, arrays), 4, func(l lane, step int) {
			v := l.load(pointers["x"])
			VSUBPS(values["less"], v, v)
			e := s.exp(v)
			if store {
				l.store(e, pointers["dst"])
			}
			l.keep(e, s.zero())
			VADDPS(e, sums[step], sums[step])
		})
		s.release()
		Store(fold(s, []vec{s.add4(sums)}), ReturnIndex(0))
		end()
	}
}
