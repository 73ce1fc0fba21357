package main

// A product of matrices (SMMLA) is of two rows by two outputs, of eight columns of each:
// the first register of a pair of codes has all eight of the first two outputs, and the
// rows' values lie by two likewise. Sums are those of two outputs of the first row, then of
// the second; so are the sums of floats, and what they are scaled with is made to fit: of
// the weights a value of two outputs is there twice, of the rows each is repeated.

// matrixSums is the place of sums of two rows and of two of four outputs.
func matrixSums(rows, outs int) int { return 2*rows + outs }

// zip sets registers, of which the second may be one of the sources, to the first and to
// the second halves of two registers.
func (f *file) zip(first, second, a, b vec) {
	f.i("VZIP1 %s.D2, %s.D2, %s.D2", b, a, first)
	f.i("VZIP2 %s.D2, %s.D2, %s.D2", b, a, second)
}

// putTwice stores values of two vectors of outputs, at displacements: those of two outputs
// twice, then those of the other two.
func (f *file) putTwice(v [2]vec, dst gp, at ...int) {
	defer f.scope()()
	first, second := f.vec(), f.vec()
	for o, v := range v {
		f.zip(first, second, v, v)
		f.storePair(first, second, dst, at[o])
	}
}

// openMatrices reads 32 columns of four rows, but for eight of two of them, for which
// registers are missing. It puts the rows' scaled sums aside or, of codes of six bits,
// their scales.
func (k *tile) openMatrices(scales gp) {
	k.pairs = [2]vec{k.vec(), k.vec()}
	spread := func(at int, aside bool) {
		k.load(k.pairs[1], scales, at)
		k.i("VZIP1 %s.S4, %s.S4, %s.S4", k.pairs[1], k.pairs[1], k.pairs[0])
		k.i("VZIP2 %s.S4, %s.S4, %s.S4", k.pairs[1], k.pairs[1], k.pairs[1])
		if aside {
			k.storePair(k.pairs[0], k.pairs[1], k.aside, rowBytes)
		}
	}
	if k.minima {
		spread(apartSums, true)
	}
	spread(0, k.halves)
	if k.halves {
		k.free(k.pairs[0])
		k.free(k.pairs[1])
	}
	for i := range k.x {
		for p := range k.x[i] {
			k.x[i][p] = -1
			if i == 0 || p < 3 {
				k.x[i][p] = k.vec()
			}
		}
		k.loadPair(k.x[i][0], k.x[i][1], k.codes, 64*i)
	}
	k.loadPair(k.x[0][2], k.x[0][3], k.codes, 32)
	k.load(k.x[1][2], k.codes, 64+32)
}

// matrices returns the sums of some eights of columns, of pairs of rows.
func (k *tile) matrices(o int, pairs, eights []int) []vec {
	sums := k.zeros(1, 2*len(pairs))[0]
	defer k.scope()()
	c := k.vecs(2)
	for _, p := range eights {
		k.loadPair(c[0], c[1], k.w, k.codesOf(p, o))
		for i, pair := range pairs {
			x := k.x[pair][p]
			if x < 0 {
				x = k.vec()
				k.load(x, k.codes, 64*pair+16*p)
			}
			for outs, codes := range c {
				k.three("smmla", sums[matrixSums(i, outs)], x, codes)
			}
		}
	}
	return sums
}

// addMatrices adds the products of 32 columns, of four outputs.
func (k *tile) addMatrices(o int) {
	sums := k.sumsOfMatrices(o)
	release := k.scope()
	d, both := k.vecs(2), k.vec()
	k.loadPair(d[0], d[1], k.w, k.valueOf(0, o))
	if k.halves {
		k.pairs = [2]vec{k.vec(), k.vec()}
		k.loadPair(k.pairs[0], k.pairs[1], k.aside, rowBytes)
	}
	for rows, e := range k.pairs {
		for outs := range d {
			i := matrixSums(rows, outs)
			k.two("scvtf", sums[i], sums[i])
			k.three("fmul", both, d[outs], e)
			k.fmla(k.acc[i][o], sums[i], both)
		}
	}
	release()
	for _, v := range sums {
		k.free(v)
	}
	if k.minima {
		least, s := k.vecs(2), k.vecs(2)
		k.loadPair(least[0], least[1], k.w, k.valueOf(1, o))
		k.loadPair(s[0], s[1], k.aside, rowBytes)
		for rows := range s {
			for outs := range least {
				k.fmla(k.acc[matrixSums(rows, outs)][o], least[outs], s[rows])
			}
		}
	}
}

// sumsOfMatrices returns those of the products of 32 columns, of four outputs.
func (k *tile) sumsOfMatrices(o int) []vec {
	if !k.halves {
		return k.matrices(o, []int{0, 1}, []int{0, 1, 2, 3})
	}
	all := k.matrices(o, []int{0, 1}, []int{0, 1})
	multiply := func(name string, half int, into, sums []vec) {
		defer k.scope()()
		factors := k.vecs(2)
		k.loadPair(factors[0], factors[1], k.w, k.valueOf(1+half, o))
		for i, v := range into {
			k.three(name, v, sums[i], factors[i%2])
		}
	}
	multiply("mul", 0, all, all)
	for i := range k.x { // two rows at a time, as registers are left for
		release := k.scope()
		multiply("mla", 1, all[2*i:2*i+2], k.matrices(o, []int{i}, []int{2, 3}))
		release()
	}
	return all
}

// loadMatrices reads four rows of results.
func (k *tile) loadMatrices(from [tileRows]gp) {
	defer k.scope()()
	a, b := k.vecs(2), k.vecs(2)
	for rows := range k.x {
		for o := 0; o < tileOuts; o += 2 {
			k.loadPair(a[0], a[1], from[2*rows], 16*o)
			k.loadPair(b[0], b[1], from[2*rows+1], 16*o)
			for i := range a {
				k.zip(k.acc[matrixSums(rows, 0)][o+i], k.acc[matrixSums(rows, 1)][o+i], a[i], b[i])
			}
		}
	}
}

// storeMatrices writes them.
func (k *tile) storeMatrices(to [tileRows]gp) {
	defer k.scope()()
	a, b := k.vecs(2), k.vecs(2)
	for rows := range k.x {
		for o := 0; o < tileOuts; o += 2 {
			for i := range a {
				k.zip(a[i], b[i], k.acc[matrixSums(rows, 0)][o+i], k.acc[matrixSums(rows, 1)][o+i])
			}
			k.storePair(a[0], a[1], to[2*rows], 16*o)
			k.storePair(b[0], b[1], to[2*rows+1], 16*o)
		}
	}
}
