package main

import (
	"fmt"
	"slices"
)

// Many rows read weights that are unpacked, once for all of them: by 32 columns, of two
// groups of outputs, four vectors. There are scales, as floats; then minima, or the integer
// scales of either sixteen columns, where there are some; then codes with their sign, a byte
// each, in pairs of registers of a vector of outputs: for each eight columns those of the
// even vectors, then of the odd ones. The first register of a pair has of each output the
// first four columns, the second the others. How it is for matrices, int8matrix.go tells.
type unpacked struct {
	name   string
	of     []string // formats
	minima bool
	halves bool // a scale for each sixteen columns
	matrix bool // products of matrices
}

var unpackedKinds = []unpacked{
	{name: "Plain", of: []string{"Q4_0", "Q5_0", "Q8_0"}},
	{name: "Min", of: []string{"Q4_1", "Q5_1", "Q4_K", "Q5_K"}, minima: true},
	{name: "Halves", of: []string{"Q6_K"}, halves: true},
}

const (
	tileRows = 4
	tileOuts = 4  // vectors
	rowBytes = 64 // of the results of a tile
)

// value is the size of a value of each output.
func (k *unpacked) value() int {
	if k.matrix {
		return 128
	}
	return 64
}

// valueOf is where the i-th value of a vector of outputs lies.
func (k *unpacked) valueOf(i, o int) int {
	if k.matrix {
		return i*k.value() + 64*(o%2) + 32*(o/2)
	}
	return i*k.value() + 16*o
}

// codesAt is where codes begin.
func (k *unpacked) codesAt() int {
	switch {
	case k.halves:
		return 3 * k.value()
	case k.minima:
		return 2 * k.value()
	}
	return k.value()
}

func (k *unpacked) bytes() int { return k.codesAt() + 512 }

// codesOf is where codes of columns [8p, 8p+8) lie, of a vector of outputs.
func (k *unpacked) codesOf(p, o int) int { return k.codesAt() + 128*p + 64*(o%2) + 32*(o/2) }

// named is a function's name: those with matrices have one of their own.
func (k *unpacked) named(name string) string {
	if k.matrix {
		return name + "Matrix"
	}
	return name
}

// int8Tiles generates the products of many rows, by dot products and by matrices.
func int8Tiles(f *file) {
	for _, matrix := range []bool{false, true} {
		for _, k := range unpackedKinds {
			k.matrix = matrix
			for i := range interleavedFormats {
				if q := &interleavedFormats[i]; slices.Contains(k.of, q.name) {
					int8Unpack(f, q, &k)
				}
			}
			int8Tile(f, &k)
		}
	}
}

func int8Unpack(f *file, q *interleaved, u *unpacked) {
	f.function(u.named("int8Unpack"+q.name), "func(dst, w *byte, blocks int)", 0,
		fmt.Sprintf("dst = blocks of a group of %d outputs, interleaved from %s, as one of two for %sNEON.", int8Outs, q.name, u.named("int8Tile"+u.name)))
	dst, w, n := f.argument("dst"), f.argument("w"), f.argument("blocks")
	k := open(f, q, w, 1)
	offset := vec(-1)
	if q.offset > 0 {
		offset = f.vec()
		f.i("VMOVI $%d, %s.B16", q.offset, offset)
	}
	put := func(i int, v [2]vec) {
		if u.matrix {
			f.putTwice(v, dst, u.valueOf(i, 0), u.valueOf(i, 1))
		} else {
			f.storePair(v[0], v[1], dst, u.valueOf(i, 0))
		}
	}
	k.blocks(n, func() {
		defer f.scope()()
		scales := [2]vec{k.scale(0), k.scale(1)}
		put(0, scales)
		if u.minima {
			put(1, [2]vec{k.least(0, scales[0]), k.least(1, scales[1])})
		}
		if u.halves {
			for half := range 2 {
				release := f.scope()
				put(1+half, [2]vec{k.factor(0, half), k.factor(1, half)})
				release()
			}
		}
		var before [2][2]vec // of the columns before, by vector of outputs and half of the columns
		k.quads([]int{0, 1}, 2, func(o, g int, codes vec) {
			if q.offset > 0 {
				f.i("VSUB %s.B16, %s.B16, %s.B16", offset, codes, codes)
			}
			first := &before[o][g/4]
			if g%2 == 0 {
				*first = codes
				return
			}
			release := f.scope()
			if u.matrix {
				t := f.vec()
				f.i("VZIP1 %s.S4, %s.S4, %s.S4", codes, *first, t)
				f.i("VZIP2 %s.S4, %s.S4, %s.S4", codes, *first, codes)
				*first = t
			}
			f.storePair(*first, codes, dst, u.codesOf(g/2, o))
			release()
		})
		f.add(dst, u.bytes())
	})
	f.finish()
}

// A tile is four rows of a product with unpacked weights.
type tile struct {
	*file
	*unpacked
	w     gp
	aside gp                      // memory of its own
	acc   [tileRows][tileOuts]vec // by row and vector of outputs; of matrices: see matrixSums
	x     [tileRows / 2][4]vec    // two rows: the halves of each or, of matrices, eight columns of both
	codes gp                      // the rows' 32 columns
	e, s  vec                     // scales and scaled sums of the rows
	pairs [2]vec                  // of matrices: scales of two rows each
}

func int8Tile(f *file, u *unpacked) {
	f.function(u.named("int8Tile"+u.name),
		"func(dst *float32, dstStride int, x *byte, tile int, w *byte, blocks, add, rows int)", rowBytes+32,
		fmt.Sprintf("Rows of rounded activations, sixteen by sixteen, tile bytes apart, times unpacked weights of %d outputs,", 4*tileOuts),
		"added by 32 columns in order, to what is in dst if add is not 0.")
	k := &tile{file: f, unpacked: u, w: f.gp(), codes: f.gp(), aside: f.gp()}
	dst, stride, x, rows := f.argument("dst"), f.argument("dstStride"), f.argument("x"), f.argument("rows")
	scales, codes, scalesAt := f.gp(), f.gp(), f.gp()
	n, t, quarter := f.gp(), f.gp(), f.gp()
	f.i("MOVD $scratch-%d(SP), %s", rowBytes+32, k.aside)
	to := [tileRows]gp{dst, f.gp(), f.gp(), f.gp()}
	f.label("tiles")
	f.i("MOVD %s, %s", x, scales)
	f.i("ADD $%d, %s, %s", apartCodes, x, codes)
	f.i("MOVD $%d, %s", apartRows/tileRows, quarter)

	f.label("rows")
	f.i("MOVD %s, %s", dst, t)
	for r := 1; r < tileRows; r++ { // rows that there are not go aside
		f.i("ADD %s, %s", stride, t)
		f.i("CMP $%d, %s", r, rows)
		f.i("CSEL GT, %s, %s, %s", t, k.aside, to[r])
	}
	for r := range k.acc {
		for o := range k.acc[r] {
			k.acc[r][o] = f.vec()
			f.zero(k.acc[r][o])
		}
	}
	f.argumentTo("blocks", n)
	f.argumentTo("w", k.w)
	f.i("MOVD %s, %s", scales, scalesAt)
	f.i("MOVD %s, %s", codes, k.codes)
	f.argumentTo("add", t)
	f.i("CBZ %s, blocks", t)
	if u.matrix {
		k.loadMatrices(to)
	} else {
		for r := range k.acc {
			for o := 0; o < tileOuts; o += 2 {
				f.loadPair(k.acc[r][o], k.acc[r][o+1], to[r], 16*o)
			}
		}
	}
	f.label("blocks")
	release := f.scope()
	if u.matrix {
		k.openMatrices(scalesAt)
	} else {
		k.open(scalesAt)
	}
	for o := range tileOuts {
		again := f.scope()
		if u.matrix {
			k.addMatrices(o)
		} else {
			k.addDots(o, scalesAt)
		}
		again()
	}
	release()
	f.add(k.w, k.bytes())
	f.add(scalesAt, apartBytes)
	f.add(k.codes, apartBytes)
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE blocks")
	if u.matrix {
		k.storeMatrices(to)
	} else {
		for r := range k.acc {
			for o := 0; o < tileOuts; o += 2 {
				f.storePair(k.acc[r][o], k.acc[r][o+1], to[r], 16*o)
			}
		}
	}
	f.i("ADD %s<<2, %s, %s", stride, dst, dst)
	f.i("SUBS $%d, %s, %s", tileRows, rows, rows)
	f.i("BLE done")
	f.add(scales, 4*tileRows)
	f.add(codes, 32*tileRows)
	f.i("SUBS $1, %s, %s", quarter, quarter)
	f.i("BNE rows")
	f.argumentTo("tile", t)
	f.i("ADD %s, %s", t, x)
	f.i("B tiles")
	f.label("done")
	f.finish()
}

// open reads 32 columns of four rows, and their scales where there is room for these.
func (k *tile) open(scales gp) {
	for i := range k.x {
		k.x[i] = [4]vec(k.vecs(4))
		k.loadPair(k.x[i][0], k.x[i][1], k.codes, 64*i)
		k.loadPair(k.x[i][2], k.x[i][3], k.codes, 64*i+32)
	}
	if !k.halves {
		k.e = k.vec()
		k.load(k.e, scales, 0)
	}
	if k.minima {
		k.s = k.vec()
		k.load(k.s, scales, apartSums)
	}
}

// addDots adds the products of 32 columns, of four outputs.
func (k *tile) addDots(o int, scales gp) {
	sums := k.sums(o)
	d, both := k.vec(), k.vec()
	k.load(d, k.w, k.valueOf(0, o))
	if k.halves {
		k.e = k.vec()
		k.load(k.e, scales, 0)
	}
	for r := range k.acc {
		k.two("scvtf", sums[r], sums[r])
		k.byElement("fmul", both, d, k.e, r)
		k.fmla(k.acc[r][o], sums[r], both)
	}
	if k.minima {
		k.load(d, k.w, k.valueOf(1, o))
		for r := range k.acc {
			k.byElement("fmla", k.acc[r][o], d, k.s, r)
		}
	}
}

// sums returns those of the products of 32 columns, of four outputs, by row.
func (k *tile) sums(o int) []vec {
	if !k.halves {
		return k.dots(o, []int{0, 1}, []int{0, 1, 2, 3})
	}
	all := k.dots(o, []int{0, 1}, []int{0, 1})
	factor := k.vec()
	k.load(factor, k.w, k.valueOf(1, o))
	for _, v := range all {
		k.three("mul", v, v, factor)
	}
	k.free(factor)
	for i := range k.x { // two rows at a time, as registers are left for
		release := k.scope()
		sums := k.dots(o, []int{i}, []int{2, 3})
		factor := k.vec()
		k.load(factor, k.w, k.valueOf(2, o))
		for r, v := range sums {
			k.three("mla", all[2*i+r], v, factor)
		}
		release()
	}
	return all
}

// dots returns the sums of some eights of columns, of pairs of rows.
func (k *tile) dots(o int, pairs, eights []int) []vec {
	sums := k.zeros(1, 2*len(pairs))[0]
	c := k.vecs(2)
	for _, p := range eights {
		k.loadPair(c[0], c[1], k.w, k.codesOf(p, o))
		for half := range c {
			for i, pair := range pairs {
				for r := range 2 {
					k.byElement("sdot", sums[2*i+r], c[half], k.x[pair][2*r+p/2], 2*(p%2)+half)
				}
			}
		}
	}
	k.free(c[0])
	k.free(c[1])
	return sums
}
