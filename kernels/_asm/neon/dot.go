package main

import "fmt"

// lanes are the floats of a vector register.
const lanes = 4

// dotRows and dotOuts are the shape of the largest dot tile.
const dotRows, dotOuts = 5, 4

// dots generates the dot tiles: rows of x by rows of w, all partial sums in
// registers, folded at the end.
func dots(f *file) {
	for r := 1; r <= dotRows; r++ {
		dot(f, r, dotOuts)
		dot(f, r, 1)
	}
}

func dot(f *file, rows, outs int) {
	f.function(fmt.Sprintf("dot%dx%d", rows, outs),
		"func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int)", 0,
		fmt.Sprintf("for r := range %d { for o := range %d {", rows, outs),
		"\tvar s [4]float32",
		"\tfor i := range n&^3 { s[i%4] += x[r][i]*w[o][i] } // fused",
		"\tfor i := n&^3; i < n; i++ { s[0] += x[r][i]*w[o][i] } // fused",
		"\tdst[r][o] = (s[0]+s[1]) + (s[2]+s[3]) // + dst[r][o] if add is not 0",
		"} }, with strides in bytes.")
	dst, dstStride := f.argument("dst"), f.argument("dstStride")
	x, w := f.strided("x", "xStride", rows), f.strided("w", "wStride", outs)
	n, add := f.argument("n"), f.argument("add")
	acc := f.zeros(rows, outs)

	// steps adds so many columns as long as there are as many.
	steps := func(columns int) {
		name := fmt.Sprintf("by%d", columns)
		f.i("SUBS $%d, %s, %s", columns, n, n)
		f.i("BLT %sPast", name)
		f.label(name)
		release := f.scope()
		load := func(v []vec, r gp) {
			switch columns {
			case 8:
				f.i("FLDPQ.P 32(%s), (%s, %s)", r, v[0].f(), v[1].f())
			case 4:
				f.i("FMOVQ.P 16(%s), %s", r, v[0].f())
			case 1:
				f.i("FMOVS.P 4(%s), %s", r, v[0].f())
			}
		}
		vectors := max(1, columns/lanes)
		wv := make([][]vec, outs)
		for o := range wv {
			wv[o] = f.vecs(vectors)
			load(wv[o], w[o])
		}
		xv := f.vecs(vectors)
		for r := range rows {
			load(xv, x[r])
			for i := range vectors {
				for o := range outs {
					f.fmla(acc[r][o], wv[o][i], xv[i])
				}
			}
		}
		release()
		f.i("SUBS $%d, %s, %s", columns, n, n)
		f.i("BGE %s", name)
		f.label(name + "Past")
		f.add(n, columns)
	}
	steps(8)
	steps(4)
	steps(1)
	for r := range rows {
		f.foldTo(dst, acc[r], add, fmt.Sprintf("store%d", r))
		if r < rows-1 {
			f.i("ADD %s, %s", dstStride, dst)
		}
	}
	f.finish()
}

// strided returns pointers to n rows a stride apart, by the arguments' names.
func (f *file) strided(base, stride string, n int) []gp {
	rows := []gp{f.argument(base)}
	if n == 1 {
		return rows
	}
	s := f.argument(stride)
	for range n - 1 {
		p := f.gp()
		f.i("ADD %s, %s, %s", s, rows[len(rows)-1], p)
		rows = append(rows, p)
	}
	delete(f.generals, s)
	return rows
}

func (f *file) zeros(rows, columns int) [][]vec {
	acc := make([][]vec, rows)
	for r := range acc {
		acc[r] = f.vecs(columns)
		for _, v := range acc[r] {
			f.zero(v)
		}
	}
	return acc
}

// fold sums each register's lanes, neighbours first, and returns the sums of
// one, two or four registers side by side.
func (f *file) fold(v []vec) vec {
	pair := func(a, b vec) vec { return f.of("faddp", a, b) }
	switch len(v) {
	case 1:
		s := pair(v[0], v[0])
		return pair(s, s)
	case 2:
		s := pair(v[0], v[1])
		return pair(s, s)
	}
	return pair(pair(v[0], v[1]), pair(v[2], v[3]))
}

// foldTo stores the sums of registers at dst, added to what is there if add is
// not 0.
func (f *file) foldTo(dst gp, v []vec, add gp, label string) {
	defer f.scope()()
	sum, was := f.fold(v), f.vec()
	move := map[int]string{1: "FMOVS", 2: "FMOVD", 4: "FMOVQ"}[len(v)]
	f.i("CBZ %s, %s", add, label)
	f.i("%s (%s), %s", move, dst, was.f())
	f.three("fadd", sum, sum, was)
	f.label(label)
	f.i("%s %s, (%s)", move, sum.f(), dst)
}

// peaks generates what MeasurePeak times.
func peaks(f *file) {
	f.function("fmaPeak", "func(n int)", 0, "n times sixteen independent multiply-adds of a vector.")
	n := f.argument("n")
	acc, x := f.zeros(1, 16)[0], f.zeros(1, 2)[0]
	f.label("loop")
	for _, v := range acc {
		f.fmla(v, x[0], x[1])
	}
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE loop")
	f.finish()

	f.function("readAll", "func(p *byte, n int)", 0, "reads n × 512 bytes.")
	p, n := f.argument("p"), f.argument("n")
	a, b := f.vec(), f.vec()
	f.label("loop")
	for range 512 / 32 {
		f.i("FLDPQ.P 32(%s), (%s, %s)", p, a.f(), b.f())
	}
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE loop")
	f.finish()
}
