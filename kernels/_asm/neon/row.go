package main

import (
	"math"
	"strings"
)

// A lane is a step of a loop over arrays: four values, or one of the last few,
// whose register holds 0 in the other lanes.
type lane struct {
	*file
	last bool
}

// load reads a step of an array; next also moves on to the next step.
func (l lane) load(p gp) vec {
	v := l.vec()
	if l.last {
		l.i("FMOVS (%s), %s", p, v.f())
	} else {
		l.file.load(v, p, 0)
	}
	return v
}

func (l lane) next(p gp) vec {
	v := l.vec()
	if l.last {
		l.i("FMOVS.P 4(%s), %s", p, v.f())
	} else {
		l.i("FMOVQ.P 16(%s), %s", p, v.f())
	}
	return v
}

// put stores a step and moves on to the next.
func (l lane) put(v vec, p gp) {
	if l.last {
		l.i("FMOVS.P %s, 4(%s)", v.f(), p)
	} else {
		l.i("FMOVQ.P %s, 16(%s)", v.f(), p)
	}
}

// only makes the other lanes of a last step 0 again.
func (l lane) only(v vec) {
	if l.last {
		l.i("FMOVS %s, %s", v.f(), v.f())
	}
}

// over walks arrays of n values, unrolled so many times as far as that goes;
// body gets the step's number, 0 but while unrolled.
func (f *file) over(n gp, unrolled int, body func(l lane, step int)) {
	loop := func(name string, values, steps int) {
		f.i("SUBS $%d, %s, %s", values, n, n)
		f.i("BLT %sPast", name)
		f.label(name)
		for i := range steps {
			release := f.scope()
			body(lane{f, values == 1}, i)
			release()
		}
		f.i("SUBS $%d, %s, %s", values, n, n)
		f.i("BGE %s", name)
		f.label(name + "Past")
		f.add(n, values)
	}
	if unrolled > 1 {
		loop("unrolled", unrolled*lanes, unrolled)
	}
	loop("fours", lanes, 1)
	loop("ones", 1, 1)
}

// operands are what a kernel's body has in a step: its arrays' values at hand
// and its scalars. An array may be asked for once.
type operands struct {
	lane
	pointers map[string]gp
	values   map[string]vec
	dst      string // the array that is written
}

func (v operands) get(name string) vec {
	p, ok := v.pointers[name]
	switch {
	case !ok:
		return v.values[name]
	case name == v.dst:
		return v.load(p)
	}
	return v.next(p)
}

// put stores a step of dst.
func (v operands) put(x vec) { v.lane.put(x, v.pointers[v.dst]) }

// begin starts a kernel over arrays and scalars, each a list of names.
func (f *file) begin(name, result, arrays, scalars string, doc ...string) (pointers map[string]gp, values map[string]vec) {
	signature := strings.Join(strings.Fields(arrays), ", ") + " *float32, "
	if scalars != "" {
		signature += strings.Join(strings.Fields(scalars), ", ") + " float32, "
	}
	f.function(name, strings.TrimSpace("func("+signature+"n int) "+result), 0, doc...)
	pointers, values = map[string]gp{}, map[string]vec{}
	for _, a := range strings.Fields(arrays) {
		pointers[a] = f.argument(a)
	}
	for _, c := range strings.Fields(scalars) {
		values[c] = f.scalar(c)
	}
	return pointers, values
}

// element generates a kernel that sets each element of the first array; doc is
// the body of its loop and perhaps, after " // ", a remark.
func (f *file) element(name, arrays, scalars, doc string, body func(v operands) vec, constants ...[4]uint32) {
	doc, remark, remarked := strings.Cut(doc, " // ")
	if remarked {
		remark = " // " + remark
	}
	pointers, values := f.begin(name, "", arrays, scalars, "for i := range n { "+doc+" }"+remark)
	f.hold(constants...)
	f.over(f.argument("n"), 1, func(l lane, _ int) {
		v := operands{l, pointers, values, strings.Fields(arrays)[0]}
		v.put(body(v))
	})
	f.finish()
}

// reduction generates a kernel that sums over four registers, folded at the
// end.
func (f *file) reduction(name, arrays, scalars, doc string, body func(v operands, sum vec), constants ...[4]uint32) {
	pointers, values := f.begin(name, "float32", arrays, scalars,
		"for i := range n { "+doc+" }, in a partial sum for each lane of four registers, folded.")
	sums := f.zeros(1, 4)[0]
	f.hold(constants...)
	f.over(f.argument("n"), 4, func(l lane, step int) {
		body(operands{l, pointers, values, "dst"}, sums[step])
	})
	f.three("fadd", sums[0], sums[0], sums[1])
	f.three("fadd", sums[2], sums[2], sums[3])
	f.three("fadd", sums[0], sums[0], sums[2])
	f.result(f.fold(sums[:1]))
	f.finish()
}

// rows generates the element-wise kernels and reductions of rows.
func rows(f *file) {
	f.element("add", "dst x", "", "dst[i] += x[i]", func(v operands) vec { return f.of("fadd", v.get("dst"), v.get("x")) })
	f.element("mul", "dst x", "", "dst[i] *= x[i]", func(v operands) vec { return f.of("fmul", v.get("dst"), v.get("x")) })
	f.element("mulAdd", "dst x y", "", "dst[i] += x[i] * y[i] // fused", func(v operands) vec {
		d := v.get("dst")
		f.fmla(d, v.get("x"), v.get("y"))
		return d
	})
	f.element("axpy", "dst x", "a", "dst[i] += a * x[i] // fused", func(v operands) vec {
		d := v.get("dst")
		f.fmla(d, v.get("x"), v.get("a"))
		return d
	})
	f.element("scale", "dst x", "a", "dst[i] = x[i] * a", func(v operands) vec { return f.of("fmul", v.get("x"), v.get("a")) })
	f.element("quotient", "dst x", "a", "dst[i] = x[i] / a", func(v operands) vec { return f.of("fdiv", v.get("x"), v.get("a")) })
	f.element("norm", "dst x weight", "mean scale", "dst[i] = weight[i] * ((x[i] - mean) * scale)", func(v operands) vec {
		return f.of("fmul", f.centred(v), v.get("weight"))
	})
	f.element("normGrad", "dst dy x weight", "mean scale a b",
		"dst[i] += (weight[i]*dy[i] - a - b*((x[i]-mean)*scale)) * scale", func(v operands) vec {
			x, d := f.centred(v), v.get("dst")
			g := f.of("fmul", v.get("weight"), v.get("dy"))
			f.three("fsub", g, g, v.get("a"))
			f.fmls(g, x, v.get("b"))
			f.fmla(d, g, v.get("scale"))
			return d
		})
	f.element("normWeightGrad", "dst dy x", "mean scale", "dst[i] += dy[i] * ((x[i] - mean) * scale)", func(v operands) vec {
		d := v.get("dst")
		f.fmla(d, f.centred(v), v.get("dy"))
		return d
	})

	f.reduction("dotRow", "x y", "", "ret += x[i] * y[i]", func(v operands, sum vec) { f.fmla(sum, v.get("x"), v.get("y")) })
	f.reduction("dot3", "x y z", "mean", "ret += x[i] * y[i] * (z[i] - mean)", func(v operands, sum vec) {
		f.fmla(sum, f.of("fmul", v.get("x"), v.get("y")), f.of("fsub", v.get("z"), v.get("mean")))
	})
	f.reduction("sum", "x", "", "ret += x[i]", func(v operands, sum vec) { f.three("fadd", sum, sum, v.get("x")) })
	f.reduction("spread", "x", "mean", "ret += (x[i]-mean) * (x[i]-mean)", func(v operands, sum vec) {
		x := f.of("fsub", v.get("x"), v.get("mean"))
		v.only(x)
		f.fmla(sum, x, x)
	})
	f.reduction("finite", "x", "", "ret += x[i] - x[i]", func(v operands, sum vec) {
		x := v.get("x")
		f.three("fadd", sum, sum, f.of("fsub", x, x))
	})
	maximum(f)
	expSums(f)
	rope(f)
}

// centred returns (x - mean) * scale.
func (f *file) centred(v operands) vec {
	return f.of("fmul", f.of("fsub", v.get("x"), v.get("mean")), v.get("scale"))
}

// maximum generates the search for the largest value.
func maximum(f *file) {
	pointers, _ := f.begin("maximum", "float32", "x", "", "for i := range n { ret = max(ret, x[i]) } from -∞, passing over NaN.")
	tops := f.vecs(4)
	for _, v := range tops {
		f.copyTo(v, all(float32(math.Inf(-1))))
	}
	larger := func(top, v vec) { f.bit(top, v, f.of("fcmgt", v, top)) }
	f.over(f.argument("n"), 4, func(l lane, step int) {
		v := l.next(pointers["x"])
		if l.last {
			f.broadcast(v, v, 0)
		}
		larger(tops[step], v)
	})
	for _, t := range tops[1:] {
		larger(tops[0], t)
	}
	f.two("fmaxnmv", tops[0], tops[0])
	f.result(tops[0])
	f.finish()
}

// expSums generates the sums of exponentials, with and without keeping them.
func expSums(f *file) {
	e := func(v operands) vec { return f.exp(f.of("fsub", v.get("x"), v.get("less"))) }
	f.reduction("expSum", "x", "less", "ret += exp(x[i] - less)", func(v operands, sum vec) {
		x := e(v)
		v.only(x)
		f.three("fadd", sum, sum, x)
	}, expConstants...)
	f.reduction("expShift", "dst x", "less", "dst[i] = exp(x[i] - less); ret += dst[i]", func(v operands, sum vec) {
		x := e(v)
		v.put(x)
		v.only(x)
		f.three("fadd", sum, sum, x)
	}, expConstants...)
}

func rope(f *file) {
	f.function("rope", "func(x, cos, sin *float32, half, heads, stride int, sign float32)", 0,
		"for h := range heads { for i := range half {",
		"\ta, b, s := x[i], x[half+i], sign*sin[i]",
		"\tx[i], x[half+i] = a*cos[i]-b*s, b*cos[i]+a*s",
		"}; x = x[stride:] }, with stride in bytes.")
	x, heads, stride, half := f.argument("x"), f.argument("heads"), f.argument("stride"), f.argument("half")
	sign := f.scalar("sign")
	a, b, cos, sin, n := f.gp(), f.gp(), f.gp(), f.gp(), f.gp()
	f.label("head")
	f.argumentTo("cos", cos)
	f.argumentTo("sin", sin)
	f.i("MOVD %s, %s", half, n)
	f.i("MOVD %s, %s", x, a)
	f.i("ADD %s<<2, %s, %s", half, x, b)
	f.over(n, 1, func(l lane, _ int) {
		u, v, c := l.load(a), l.load(b), l.next(cos)
		s := f.of("fmul", l.next(sin), sign)
		p, q := f.of("fmul", u, c), f.of("fmul", v, c)
		f.fmls(p, v, s)
		f.fmla(q, u, s)
		l.put(p, a)
		l.put(q, b)
	})
	f.i("ADD %s, %s", stride, x)
	f.i("SUBS $1, %s, %s", heads, heads)
	f.i("BNE head")
	f.finish()
}
