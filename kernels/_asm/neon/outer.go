package main

import "fmt"

// outerRows and outerVectors are the shape of the largest tile of a gradient.
const outerRows, outerVectors = 6, 4

// outers generates the outer-product tiles of the gradients: rows of c by
// sixteen, four or one columns, in registers while k runs.
func outers(f *file) {
	for r := 1; r <= outerRows; r++ {
		for _, columns := range []int{outerVectors * lanes, lanes, 1} {
			outer(f, r, columns)
		}
	}
}

func outer(f *file, rows, columns int) {
	f.function(fmt.Sprintf("outer%dx%d", rows, columns),
		"func(c *float32, cStride int, a *float32, aRow, aStep int, b *float32, bStride, k int)", 0,
		fmt.Sprintf("for r := range %d { for i := range k { c[r] += a[r][i] * b[i] } } // fused, of %d columns", rows, columns),
		"with a[r][i] at r*aRow + i*aStep; strides in bytes.")
	c, a := f.strided("c", "cStride", rows), f.strided("a", "aRow", rows)
	b, stride, k := f.argument("b"), f.argument("bStride"), f.argument("k")
	step, at := f.argument("aStep"), f.gp()
	f.i("MOVD $0, %s", at)
	acc := make([][]vec, rows)
	for r := range acc {
		acc[r] = f.vecs((columns + lanes - 1) / lanes)
		f.loadColumns(acc[r], c[r], columns)
	}
	f.label("loop")
	v, x := f.vecs(len(acc[0])), f.vecs(2)
	f.loadColumns(v, b, columns)
	for r := range acc {
		f.i("FMOVS (%s)(%s), %s", a[r], at, x[r%2].f())
		for j := range v {
			f.byElement("fmla", acc[r][j], v[j], x[r%2], 0)
		}
	}
	f.i("ADD %s, %s", stride, b)
	f.i("ADD %s, %s", step, at)
	f.i("SUBS $1, %s, %s", k, k)
	f.i("BNE loop")
	for r := range acc {
		f.storeColumns(acc[r], c[r], columns)
	}
	f.finish()
}

// loadColumns loads one column, or whole registers of them.
func (f *file) loadColumns(v []vec, p gp, columns int) {
	switch {
	case columns == 1:
		f.i("FMOVS (%s), %s", p, v[0].f())
	case columns == lanes:
		f.load(v[0], p, 0)
	default:
		for i := 0; i < len(v); i += 2 {
			f.loadPair(v[i], v[i+1], p, 16*i)
		}
	}
}

func (f *file) storeColumns(v []vec, p gp, columns int) {
	switch {
	case columns == 1:
		f.i("FMOVS %s, (%s)", v[0].f(), p)
	case columns == lanes:
		f.store(v[0], p, 0)
	default:
		for i := 0; i < len(v); i += 2 {
			f.storePair(v[i], v[i+1], p, 16*i)
		}
	}
}
