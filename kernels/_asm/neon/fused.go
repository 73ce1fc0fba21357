package main

import (
	"fmt"
	"math/bits"
	"slices"
)

// A kernel is what a stored format's weights are widened for: a product with
// rows of x, or, where it has no rows, a decoder, which stores them.
type kernel struct {
	*file
	x, w    []gp    // rows of x and of weights
	acc     [][]vec // [row][output]
	dst     gp      // of a decoder
	wide    []vec   // two registers an output: eight columns
	xv      []vec   // eight columns of a row
	scratch gp      // scales of an opened block of a k-quant
	beside  []gp    // a second place in each block of weights, where a format has one
}

func (k *kernel) outs() int { return len(k.w) }

// eight adds eight columns, the first of which is x's at the pointers plus
// column; widen sets two registers to an output's weights.
func (k *kernel) eight(column int, widen func(o int, lo, hi vec)) {
	for o := range k.w {
		widen(o, k.wide[2*o], k.wide[2*o+1])
	}
	if len(k.x) == 0 {
		k.storePair(k.wide[0], k.wide[1], k.dst, 4*column)
		return
	}
	for r, x := range k.x {
		k.loadPair(k.xv[0], k.xv[1], x, 4*column)
		for half := range 2 {
			for o := range k.w {
				k.fmla(k.acc[r][o], k.wide[2*o+half], k.xv[half])
			}
		}
	}
}

// lend frees registers that hold nothing at the time until they are given back.
func (k *kernel) lend(idle ...[]vec) (giveBack func()) {
	giveBack = k.scope()
	for _, v := range slices.Concat(idle...) {
		k.free(v)
	}
	return giveBack
}

// advance moves the activations, or what is decoded, by so many columns.
func (k *kernel) advance(columns int) {
	for _, x := range k.x {
		k.add(x, 4*columns)
	}
	if len(k.x) == 0 {
		k.add(k.dst, 4*columns)
	}
}

// advanceWeights moves the weights by so many bytes.
func (k *kernel) advanceWeights(n int) {
	for _, w := range k.w {
		k.add(w, n)
	}
}

// fusedRows is the most rows that share widened weights.
const fusedRows = 8

// outs is the number of outputs that share loads of x, as registers allow.
func (f *stored) outs(rows int) int {
	if rows == 1 || rows == 2 && !f.crowded {
		return 4
	}
	return 2
}

// fusedProducts generates the products of few rows, which widen weights into
// registers and do not keep them.
func fusedProducts(f *file) {
	for i := range formats {
		for rows := 1; rows <= fusedRows; rows++ {
			fuse(f, &formats[i], rows)
		}
	}
}

// scratchBytes hold an output's scales of an opened block of a k-quant.
const scratchBytes = 64

func (f *file) openScratch(q *stored, outs int) gp {
	if q.values == 32 {
		return 0
	}
	r := f.gp()
	f.i("MOVD $scratch-%d(SP), %s", outs*scratchBytes, r)
	return r
}

func (q *stored) frame(outs int) int {
	if q.values == 32 {
		return 0
	}
	return outs * scratchBytes
}

func fuse(f *file, q *stored, rows int) {
	outs := q.outs(rows)
	f.function(fmt.Sprintf("fused%s_%d", q.name, rows),
		"func(dst *float32, dstStride int, x *float32, xStride int, w *byte, cols, block, outs int)", q.frame(outs),
		fmt.Sprintf("dot%dx%d of weights widened from %s, for blocks of columns whose sums are added in order.", rows, outs, q.name),
		fmt.Sprintf("cols and block are multiples of %d, outs of %d.", q.values, outs))
	k := &kernel{file: f, x: f.strided("x", "xStride", rows)}
	w, rowBytes, t := f.argument("w"), f.argument("cols"), f.gp()
	f.i("LSR $%d, %s, %s", bits.TrailingZeros(uint(q.values)), rowBytes, rowBytes)
	f.i("MOVD $%d, %s", q.bytes, t)
	f.i("MUL %s, %s, %s", t, rowBytes, rowBytes)
	k.w = []gp{w}
	for range outs - 1 {
		p := f.gp()
		f.i("ADD %s, %s, %s", rowBytes, k.w[len(k.w)-1], p)
		k.w = append(k.w, p)
	}
	k.scratch = f.openScratch(q, outs)
	left, more, n, dst := f.gp(), f.gp(), f.gp(), f.argument("dst")
	for range rows {
		k.acc = append(k.acc, f.vecs(outs))
	}
	k.wide, k.xv = f.vecs(2*outs), f.vecs(2)
	block := q.block(k)

	f.label("outputs")
	f.argumentTo("cols", left)
	f.i("MOVD $0, %s", more)
	f.label("blocks")
	for r := range k.acc {
		for _, v := range k.acc[r] {
			f.zero(v)
		}
	}
	f.argumentTo("block", n)
	f.i("CMP %s, %s", left, n)
	f.i("CSEL LT, %s, %s, %s", n, left, n)
	f.i("SUB %s, %s, %s", n, left, left)
	f.label("steps")
	block()
	f.i("SUBS $%d, %s, %s", q.values, n, n)
	f.i("BNE steps")
	f.i("MOVD %s, %s", dst, t)
	for r := range k.acc {
		giveBack := k.lend(k.wide)
		f.foldTo(t, k.acc[r], more, fmt.Sprintf("store%d", r))
		giveBack()
		if r < rows-1 {
			f.argumentTo("dstStride", n)
			f.i("ADD %s, %s", n, t)
		}
	}
	f.i("MOVD $1, %s", more)
	f.i("CBNZ %s, blocks", left)
	f.add(dst, 4*outs)
	// x returns to its start, w goes on to the next rows.
	f.argumentTo("cols", t)
	for _, x := range k.x {
		f.i("SUB %s<<2, %s, %s", t, x, x)
	}
	f.i("MOVD $%d, %s", outs-1, t)
	for _, w := range k.w {
		f.i("MADD %s, %s, %s, %s", rowBytes, w, t, w)
	}
	f.argumentTo("outs", n)
	f.i("SUBS $%d, %s, %s", outs, n, n)
	f.i("MOVD %s, outs+%d(FP)", n, f.at("outs"))
	f.i("BGT outputs")
	f.finish()
}

// decoders generates what widens weights into memory, so many blocks of them.
func decoders(f *file) {
	for i := range formats {
		q := &formats[i]
		if q.name == "F32" {
			continue
		}
		f.function("decode"+q.name, "func(dst *float32, src *byte, n int)", q.frame(1),
			fmt.Sprintf("Decode(dst[:%d*n], %s, src).", q.values, q.name))
		k := &kernel{file: f, dst: f.argument("dst"), w: []gp{f.argument("src")}}
		n := f.argument("n")
		k.scratch = f.openScratch(q, 1)
		k.wide = f.vecs(2)
		block := q.block(k)
		f.label("blocks")
		block()
		f.i("SUBS $1, %s, %s", n, n)
		f.i("BNE blocks")
		f.finish()
	}
}
