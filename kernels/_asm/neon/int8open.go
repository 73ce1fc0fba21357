package main

// An opened format is one being read: what its kernel holds in registers.
type opened struct {
	*file
	*interleaved
	w          gp  // 32 columns
	lowMask    vec // of codes
	highMask   vec
	full       bool   // what rows have beside their values is read again when it is used, for want of registers
	crowded    bool   // what the head has, too
	headAt     gp     // where the head lies, of a crowded kernel
	headScales [2]vec // of the head, as floats, by vector of outputs
	headMinima [2]vec
	integers   vec // scales of 32 columns, of a format of six bits those of their first half
	others     vec // minima, or scales of the second half
}

// open takes what a kernel holds; rows share the registers.
func open(f *file, q *interleaved, w gp, rows int) *opened {
	k := &opened{file: f, interleaved: q, w: w}
	k.full = q.head > 0 && rows == int8Rows
	k.crowded = k.full && q.bits == 6
	mask := func(v int) vec {
		r := f.vec()
		f.i("VMOVI $%d, %s.B16", v, r)
		return r
	}
	switch q.bits {
	case 4:
		k.lowMask = mask(15)
	case 5:
		k.lowMask, k.highMask = mask(31), mask(16)
	case 6:
		k.lowMask, k.highMask = mask(15), mask(48)
	}
	switch {
	case q.head == 0:
	case k.crowded:
		k.headAt = f.gp()
	default:
		k.headScales = [2]vec{f.vec(), f.vec()}
		k.integers, k.others = f.vec(), f.vec()
		if q.bits != 6 {
			k.headMinima = [2]vec{f.vec(), f.vec()}
		}
	}
	return k
}

// blocks generates the loop over n blocks and, in a k-quant, the one over the 32 columns
// of each; body does 32 columns.
func (k *opened) blocks(n gp, body func()) {
	k.label("blocks")
	if k.head > 0 {
		k.openHead()
		left := k.gp()
		k.i("MOVD $8, %s", left)
		k.label("part")
		k.columns(body)
		k.i("SUBS $1, %s, %s", left, left)
		k.i("BNE part")
	} else {
		k.columns(body)
	}
	k.i("SUBS $1, %s, %s", n, n)
	k.i("BNE blocks")
}

func (k *opened) columns(body func()) {
	if k.head > 0 && !k.crowded {
		k.load(k.others, k.w, 0)
		if k.bits == 6 {
			k.two("sxtl.8h", k.integers, k.others)
			k.two("sxtl2.8h", k.others, k.others)
		} else {
			k.i("VUSHLL $0, %s.B8, %s.H8", k.others, k.integers)
			k.i("VUSHLL2 $0, %s.B16, %s.H8", k.others, k.others)
		}
	}
	body()
	k.add(k.w, k.bytes)
}

// openHead reads the head of a k-quant, and moves on to what it is for. Integers will be
// converted as halves, to a tiny part of their value: the head's scales make up for it.
// Minima are negative.
func (k *opened) openHead() {
	if k.crowded {
		k.i("MOVD %s, %s", k.w, k.headAt)
	} else {
		k.load(k.headScales[1], k.w, 0)
		k.pair(k.headScales, k.headScales[1])
		if k.bits != 6 {
			k.load(k.headMinima[1], k.w, 2*int8Outs)
			k.pair(k.headMinima, k.headMinima[1])
			release := k.scope()
			larger := k.copy(words(func(i int) uint32 { return bitsOf([]float32{1 / tiny, -1 / tiny}[i%2]) }))
			for o := range k.headScales {
				k.byElement("fmul", k.headScales[o], k.headScales[o], larger, 0)
				k.byElement("fmul", k.headMinima[o], k.headMinima[o], larger, 1)
			}
			release()
		}
	}
	k.add(k.w, k.head)
}

// pair converts eight halves, which may lie in the second register, to floats.
func (k *opened) pair(to [2]vec, halves vec) {
	k.two("fcvtl", to[0], halves)
	k.two("fcvtl2", to[1], halves)
}

// half converts the o-th four of eight halves, or of small integers.
func (k *opened) half(to, from vec, o int) { k.two([]string{"fcvtl", "fcvtl2"}[o], to, from) }

// scale returns the scales of four outputs, of 32 columns; of six bits, the head's.
func (k *opened) scale(o int) vec {
	switch {
	case k.head == 0 || k.crowded:
		v, at := k.vec(), k.w
		if k.crowded {
			at = k.headAt
		}
		k.i("FMOVD %d(%s), %s", 8*o, at, v.f())
		k.two("fcvtl", v, v)
		return v
	case k.bits == 6:
		return k.headScales[o]
	}
	v := k.vec()
	k.half(v, k.integers, o)
	k.three("fmul", v, v, k.headScales[o])
	return v
}

// least returns what is multiplied by the sum of activations: the minimum and, of a format
// that has both, the codes' offset times the scale. It rounds as int8Codes does.
func (k *opened) least(o int, scale vec) vec {
	v := k.vec()
	if k.head == 0 {
		k.i("FMOVD %d(%s), %s", k.minima+8*o, k.w, v.f())
		k.two("fcvtl", v, v)
	} else {
		k.half(v, k.others, o)
		k.three("fmul", v, v, k.headMinima[o])
	}
	if k.offset > 0 {
		t := k.vec()
		k.sixteen(t)
		k.fmla(v, scale, t)
		k.free(t)
	}
	return v
}

// factor returns the integer scales of four outputs, of the first or second sixteen of 32
// columns.
func (k *opened) factor(o, half int) vec {
	v := k.vec()
	if k.crowded {
		k.i("FMOVS %d(%s), %s", int8Outs*half+4*o, k.w, v.f())
		k.two("sxtl.8h", v, v)
		k.two("sxtl.4s", v, v)
		return v
	}
	k.two([]string{"sxtl.4s", "sxtl2.4s"}[o], v, []vec{k.integers, k.others}[half])
	return v
}

// quads yields the codes of 32 columns of vectors of outputs: with each call of use, of
// columns [4g, 4g+4), four of each output. What it yields lasts for so many g from one on.
func (k *opened) quads(outs []int, lasts int, use func(o, g int, codes vec)) {
	defer k.scope()()
	codes := make([][]vec, lasts)
	for i := range codes {
		codes[i] = k.vecs(len(outs))
	}
	read := func(v []vec, at int) {
		if len(v) == 2 {
			k.loadPair(v[0], v[1], k.w, at)
		} else {
			k.load(v[0], k.w, at+16*outs[0])
		}
	}
	next := 4 * int8Outs
	if k.bits == 8 {
		for g := range 8 {
			c := codes[g%lasts]
			read(c, k.codes+next*g)
			for i, o := range outs {
				use(o, g, c[i])
			}
		}
		return
	}
	var high [2][]vec
	if k.bits > 4 {
		for i := range k.bits - 4 {
			high[i] = k.vecs(len(outs))
			read(high[i], k.high+next*i)
		}
	}
	upperHalves := 1
	if lasts > 1 {
		upperHalves = lasts * len(outs)
	}
	uppers := k.vecs(upperHalves)
	t := vec(-1)
	if k.bits > 4 {
		t = k.vec()
	}
	for g := range 4 {
		c := codes[g%lasts]
		read(c, k.codes+next*g)
		for i, o := range outs {
			upper := uppers[(g*len(outs)+i)%len(uppers)]
			k.i("VUSHR $4, %s.B16, %s.B16", c[i], upper)
			switch k.bits {
			case 4:
				k.and(c[i], c[i], k.lowMask)
			case 5:
				k.fifth(g, c[i], upper, high[0][i], t)
			case 6:
				k.and(c[i], c[i], k.lowMask)
				k.twoAbove(g, c[i], high[0][i], t)
				k.twoAbove(g, upper, high[1][i], t)
			}
			use(o, g, c[i])
			use(o, g+4, upper)
		}
	}
}

// fifth puts bit g of high above the lower halves of the bytes c, of which it leaves only
// these, and bit g + 4 above upper.
func (k *opened) fifth(g int, c, upper, high, t vec) {
	if g > 0 {
		k.i("VUSHR $%d, %s.B16, %s.B16", g, high, t)
		high = t
	}
	k.bit(upper, high, k.highMask)
	k.i("VSLI $4, %s.B16, %s.B16", high, c)
	k.and(c, c, k.lowMask)
}

// twoAbove puts bits 2g and 2g+1 of high above c, four bits.
func (k *opened) twoAbove(g int, c, high, t vec) {
	switch {
	case g < 2:
		k.i("VSHL $%d, %s.B16, %s.B16", 4-2*g, high, t)
		high = t
	case g > 2:
		k.i("VUSHR $%d, %s.B16, %s.B16", 2*g-4, high, t)
		high = t
	}
	k.bit(c, high, k.highMask)
}
