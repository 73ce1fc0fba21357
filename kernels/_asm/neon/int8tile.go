package main

import "fmt"

// Many rows read weights that are unpacked, once for all of them: by 32 columns, of two
// groups of outputs, four vectors. Scales lie side by side, as floats; then minima, or the
// integer scales of either sixteen columns, where there are some; then codes with their
// sign, a byte each, in pairs of registers: of each eight columns first those of the even
// vectors of outputs, then of the odd ones. The first register of a pair has of each output
// the first four columns, the second the others. For matrices of eight columns by two rows
// (SMMLA) the first has all eight of the first two outputs.
type unpacked struct {
	name   string
	of     []string // formats
	minima bool
	halves bool // a scale for each sixteen columns
}

var unpackedKinds = []unpacked{
	{name: "Plain", of: []string{"Q4_0", "Q5_0", "Q8_0"}},
	{name: "Min", of: []string{"Q4_1", "Q5_1", "Q4_K", "Q5_K"}, minima: true},
	{name: "Halves", of: []string{"Q6_K"}, halves: true},
}

const (
	tileRows = 4
	tileOuts = 4  // vectors
	wideOuts = 64 // bytes that a value of each output takes
)

// codesAt is where codes begin, behind so many values of each output.
func (k *unpacked) codesAt() int {
	switch {
	case k.halves:
		return 3 * wideOuts
	case k.minima:
		return 2 * wideOuts
	}
	return wideOuts
}

func (k *unpacked) bytes() int { return k.codesAt() + 8*wideOuts }

// codesOf is where codes of columns [8p, 8p+8) lie, of a vector of outputs.
func (k *unpacked) codesOf(p, o int) int { return k.codesAt() + 128*p + 64*(o%2) + 32*(o/2) }

// int8Tiles generates the products of many rows, by dot products and by matrices.
func int8Tiles(f *file) {
	for _, matrix := range []bool{false, true} {
		for i := range unpackedKinds {
			k := &unpackedKinds[i]
			for j := range interleavedFormats {
				for _, name := range k.of {
					if q := &interleavedFormats[j]; q.name == name {
						int8Unpack(f, q, k, matrix)
					}
				}
			}
			int8Tile(f, k, matrix)
		}
	}
}

// kindName is a function's name: those with matrices have one of their own.
func kindName(name string, matrix bool) string {
	if matrix {
		return name + "Matrix"
	}
	return name
}

func int8Unpack(f *file, q *interleaved, u *unpacked, matrix bool) {
	f.function(kindName("int8Unpack"+q.name, matrix), "func(dst, w *byte, blocks int)", 0,
		fmt.Sprintf("dst = blocks of a group of %d outputs, interleaved from %s, as one of two for %sNEON.", int8Outs, q.name, kindName("int8Tile"+u.name, matrix)))
	dst, w, n := f.argument("dst"), f.argument("w"), f.argument("blocks")
	k := open(f, q, w, 1)
	offset := vec(-1)
	if q.offset > 0 {
		offset = f.vec()
		f.i("VMOVI $%d, %s.B16", q.offset, offset)
	}
	k.blocks(n, func() {
		defer f.scope()()
		scales := [2]vec{k.scale(0), k.scale(1)}
		f.storePair(scales[0], scales[1], dst, 0)
		if u.minima {
			f.storePair(k.least(0, scales[0]), k.least(1, scales[1]), dst, wideOuts)
		}
		if u.halves {
			for half := range 2 {
				release := f.scope()
				f.storePair(k.factor(0, half), k.factor(1, half), dst, wideOuts*(1+half))
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
			if matrix {
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
	matrix bool
	w      gp
	x      [tileRows / 2][4]vec // two rows: the halves of each or, for matrices, eight columns of both
}

func int8Tile(f *file, u *unpacked, matrix bool) {
	f.function(kindName("int8Tile"+u.name, matrix),
		"func(dst *float32, dstStride int, x *byte, tile int, w *byte, blocks, add, rows int)", wideOuts,
		fmt.Sprintf("Rows of rounded activations, sixteen by sixteen, tile bytes apart, times unpacked weights of %d outputs,", 4*tileOuts),
		"added by 32 columns in order, to what is in dst if add is not 0.")
	k := &tile{file: f, unpacked: u, matrix: matrix, w: f.gp()}
	dst, stride, x, rows := f.argument("dst"), f.argument("dstStride"), f.argument("x"), f.argument("rows")
	scales, codes, scalesAt, codesAt := f.gp(), f.gp(), f.gp(), f.gp()
	n, t, quarter, aside := f.gp(), f.gp(), f.gp(), f.gp()
	f.i("MOVD $scratch-%d(SP), %s", wideOuts, aside)
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
		f.i("CSEL GT, %s, %s, %s", t, aside, to[r])
	}
	acc := f.zeros(tileRows, tileOuts)
	f.argumentTo("blocks", n)
	f.argumentTo("w", k.w)
	f.i("MOVD %s, %s", scales, scalesAt)
	f.i("MOVD %s, %s", codes, codesAt)
	f.argumentTo("add", t)
	f.i("CBZ %s, blocks", t)
	for r := range acc {
		for o := 0; o < tileOuts; o += 2 {
			f.loadPair(acc[r][o], acc[r][o+1], to[r], 16*o)
		}
	}
	f.label("blocks")
	release := f.scope()
	k.activations(codesAt)
	e, s := vec(-1), vec(-1)
	if !k.halves {
		e = f.vec()
		f.load(e, scalesAt, 0)
	}
	if k.minima {
		s = f.vec()
		f.load(s, scalesAt, apartSums)
	}
	for o := range tileOuts {
		again := f.scope()
		sums := k.sums(o)
		d, both := f.vec(), f.vec()
		f.load(d, k.w, 16*o)
		if k.halves {
			e = f.vec()
			f.load(e, scalesAt, 0)
		}
		for r := range acc {
			f.two("scvtf", sums[r], sums[r])
			f.byElement("fmul", both, d, e, r)
			f.fmla(acc[r][o], sums[r], both)
		}
		if k.minima {
			f.load(d, k.w, wideOuts+16*o)
			for r := range acc {
				f.byElement("fmla", acc[r][o], d, s, r)
			}
		}
		again()
	}
	release()
	f.add(k.w, k.bytes())
	f.add(scalesAt, apartBytes)
	f.add(codesAt, apartBytes)
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE blocks")
	for r := range acc {
		for o := 0; o < tileOuts; o += 2 {
			f.storePair(acc[r][o], acc[r][o+1], to[r], 16*o)
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

// activations reads 32 columns of four rows.
func (k *tile) activations(codes gp) {
	for i := range k.x {
		a, b := k.vecs(2), k.vecs(2)
		k.loadPair(a[0], a[1], codes, 64*i)
		k.loadPair(b[0], b[1], codes, 64*i+32)
		k.x[i] = [4]vec{a[0], a[1], b[0], b[1]}
		if k.matrix {
			k.x[i][0], k.x[i][1] = k.zip(a[0], b[0])
			k.x[i][2], k.x[i][3] = k.zip(a[1], b[1])
		}
	}
}

// zip returns the first and the second halves of two registers, side by side, and frees
// one of them.
func (k *tile) zip(a, b vec) (first, second vec) {
	first = k.vec()
	k.i("VZIP1 %s.D2, %s.D2, %s.D2", b, a, first)
	k.i("VZIP2 %s.D2, %s.D2, %s.D2", b, a, b)
	k.free(a)
	return first, b
}

// sums returns those of the products of 32 columns, of four outputs, by row.
func (k *tile) sums(o int) []vec {
	if !k.halves {
		return k.dots(o, []int{0, 1}, []int{0, 1, 2, 3})
	}
	all := k.dots(o, []int{0, 1}, []int{0, 1})
	factor := k.vec()
	k.load(factor, k.w, wideOuts+16*o)
	for _, v := range all {
		k.three("mul", v, v, factor)
	}
	k.free(factor)
	for i := range k.x { // two rows at a time, as registers are left for
		release := k.scope()
		sums := k.dots(o, []int{i}, []int{2, 3})
		factor := k.vec()
		k.load(factor, k.w, 2*wideOuts+16*o)
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
				if k.matrix { // half the outputs
					k.three("smmla", sums[2*i+half], k.x[pair][p], c[half])
					continue
				}
				for r := range 2 { // half the columns
					k.byElement("sdot", sums[2*i+r], c[half], k.x[pair][2*r+p/2], 2*(p%2)+half)
				}
			}
		}
	}
	k.free(c[0])
	k.free(c[1])
	if k.matrix {
		for i := 0; i < len(sums); i += 2 {
			sums[i], sums[i+1] = k.zip(sums[i], sums[i+1])
		}
	}
	return sums
}
