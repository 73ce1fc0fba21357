package main

// stored is a form that weights are stored in, read a block of values at a
// time; one that has no blocks is read by 32 values.
type stored struct {
	name          string
	values, bytes int
	crowded       bool // its widening takes many registers
	// block prepares what a kernel holds and returns what adds one block and
	// moves on to the next.
	block func(k *kernel) func()
}

var formats = []stored{
	{name: "F32", values: 32, bytes: 128, block: func(k *kernel) func() {
		return k.floats(4, func(o, at int, lo, hi vec) { k.loadPair(lo, hi, k.w[o], at) })
	}},
	{name: "F16", values: 32, bytes: 64, block: func(k *kernel) func() {
		return k.floats(2, func(o, at int, lo, hi vec) {
			k.load(hi, k.w[o], at)
			k.two("fcvtl", lo, hi)
			k.two("fcvtl2", hi, hi)
		})
	}},
	{name: "BF16", values: 32, bytes: 64, block: func(k *kernel) func() {
		return k.floats(2, func(o, at int, lo, hi vec) {
			k.load(hi, k.w[o], at)
			k.shift("upper", lo, hi)
			k.shift("upper2", hi, hi)
		})
	}},
	{name: "Q8_0", values: 32, bytes: 34, block: func(k *kernel) func() {
		signed := k.signedCodes("top")
		return k.scaled(34, signed, func(o, i int, c vec) { k.load(c, k.w[o], 2+16*i) })
	}},
	{name: "Q4_0", values: 32, bytes: 18, block: func(k *kernel) func() {
		// The halves of small integers are 0 but for their upper byte.
		table := k.copy(octets(func(i int) int {
			return []int{0xc8, 0xc7, 0xc6, 0xc5, 0xc4, 0xc2, 0xc0, 0xbc, 0, 0x3c, 0x40, 0x42, 0x44, 0x45, 0x46, 0x47}[i]
		}))
		low := k.bytesOf(15)
		return k.scaled(18, func(part int, c, lo, hi vec) {
			k.shift([]string{"widen", "widen2"}[part], hi, c)
			k.halves(lo, hi)
		}, func(o, i int, c vec) {
			k.load(c, k.w[o], 2)
			k.nibble(c, i, low)
			k.tbl(c, table, c)
		})
	}},
	{name: "Q4_1", values: 32, bytes: 20, crowded: true, block: func(k *kernel) func() {
		low := k.bytesOf(15)
		return k.affine(20, func(o, i int, c vec) {
			k.load(c, k.w[o], 4)
			k.nibble(c, i, low)
		})
	}},
	{name: "Q5_0", values: 32, bytes: 22, block: func(k *kernel) func() {
		fifth := k.fifthBits()
		signed := k.signedCodes("top")
		return k.scaled(22, signed, func(o, i int, c vec) {
			// The code less 16: its low bits below four ones where the fifth is 0.
			z := k.wide[2*o]
			k.i("FMOVS 2(%s), %s", k.w[o], z.f())
			k.two("mvn", z, z)
			fifth(i, z)
			k.fiveBits(o, i, 6, c, z)
		})
	}},
	{name: "Q5_1", values: 32, bytes: 24, crowded: true, block: func(k *kernel) func() {
		fifth := k.fifthBits()
		five := k.bytesOf(31)
		return k.affine(24, func(o, i int, c vec) {
			z := k.wide[2*o]
			k.i("FMOVS 4(%s), %s", k.w[o], z.f())
			fifth(i, z)
			k.fiveBits(o, i, 8, c, z)
			k.and(c, c, five)
		})
	}},
	{name: "Q4_K", values: 256, bytes: 144, crowded: true, block: func(k *kernel) func() {
		low := k.bytesOf(15)
		return k.subBlocks(16, func(o, j, i int, c vec) {
			k.load(c, k.w[o], 16*i)
			k.nibble(c, j, low)
		})
	}},
	{name: "Q5_K", values: 256, bytes: 176, crowded: true, block: func(k *kernel) func() {
		low, fifth, one, left := k.bytesOf(15), k.bytesOf(16), k.bytesOf(1), k.vec()
		for range k.w {
			k.beside = append(k.beside, k.gp())
		}
		add := k.subBlocks(48, func(o, j, i int, c vec) {
			high := k.wide[2*o]
			k.load(high, k.beside[o], 16*i)
			k.three("ushl", high, high, left)
			k.load(c, k.w[o], 16*i)
			k.nibble(c, j, low)
			k.bit(c, high, fifth)
			if o == k.outs()-1 && i == 1 {
				k.i("VSUB %s.B16, %s.B16, %s.B16", one, left, left)
			}
		})
		return func() {
			for o, w := range k.w {
				k.i("ADD $16, %s, %s", w, k.beside[o])
			}
			k.i("VMOVI $4, %s.B16", left)
			add()
		}
	}},
	{name: "Q6_K", values: 256, bytes: 210, crowded: true, block: (*kernel).q6K},
}

// bytesOf holds sixteen times a byte.
func (k *kernel) bytesOf(v int) vec {
	r := k.vec()
	k.i("VMOVI $%d, %s.B16", v, r)
	return r
}

// nibble leaves the low or high halves of bytes, for parts 0 and 1.
func (k *kernel) nibble(c vec, part int, low vec) {
	if part == 0 {
		k.and(c, c, low)
	} else {
		k.i("VUSHR $4, %s.B16, %s.B16", c, c)
	}
}

// floats adds 32 values of a format that has no blocks.
func (k *kernel) floats(bytes int, widen func(o, at int, lo, hi vec)) func() {
	return func() {
		for column := 0; column < 32; column += 8 {
			k.eight(column, func(o int, lo, hi vec) { widen(o, bytes*column, lo, hi) })
		}
		k.advance(32)
		k.advanceWeights(32 * bytes)
	}
}

// codes holds sixteen codes of each output.
func (k *kernel) codes() []vec { return k.vecs(k.outs()) }

// scaled adds a block of 32 values that begins with their scale: read sets c
// to codes [16i, 16i+16), and widen two registers to a part, 0 or 1, of them.
func (k *kernel) scaled(bytes int, widen func(part int, c, lo, hi vec), read func(o, i int, c vec)) func() {
	d, c := k.vec(), k.codes()
	return func() {
		for o, w := range k.w {
			k.i("VLD1 (%s), %s.H[%d]", w, d, o)
		}
		k.two("fcvtl", d, d)
		for i := range 2 {
			for o := range k.w {
				read(o, i, c[o])
			}
			for part := range 2 {
				k.eight(16*i+8*part, func(o int, lo, hi vec) {
					widen(part, c[o], lo, hi)
					k.byElement("fmul", lo, lo, d, o)
					k.byElement("fmul", hi, hi, d, o)
				})
			}
		}
		k.advance(32)
		k.advanceWeights(bytes)
	}
}

// signedCodes widens eight of sixteen signed bytes: each to the top of a
// register's lane, which an instruction converts as a fixed-point number.
func (k *kernel) signedCodes(convert string) func(part int, c, lo, hi vec) {
	var place [4]vec
	for v := range place {
		place[v] = k.copy(octets(func(i int) int {
			if i%4 < 3 {
				return 0xff
			}
			return 4*v + i/4
		}))
	}
	return func(part int, c, lo, hi vec) {
		for i, v := range []vec{lo, hi} {
			k.tbl(v, c, place[2*part+i])
			k.shift(convert, v, v)
		}
	}
}

// halves converts eight halves in hi to floats in both.
func (k *kernel) halves(lo, hi vec) {
	k.two("fcvtl", lo, hi)
	k.two("fcvtl2", hi, hi)
}

// tiny is what a small integer is worth as the bits of a half: a subnormal
// number, which converts exactly. Scales make up for it.
const tiny = 1.0 / (1 << 24)

// unsigned widens eight of sixteen small unsigned bytes, as multiples of tiny.
func (k *kernel) unsigned(part int, c, lo, hi vec) {
	k.i("VUSHLL%s $0, %s.B%d, %s.H8", []string{"", "2"}[part], c, 8+8*part, hi)
	k.halves(lo, hi)
}

// affine adds a block of 32 values that begins with their scale and minimum:
// d·q rounded, then + m, as Decode does.
func (k *kernel) affine(bytes int, read func(o, i int, c vec)) func() {
	larger := k.copy(words(func(i int) uint32 { return bitsOf([]float32{1 / tiny, 1}[i%2]) }))
	d, m, c := k.vecs((k.outs()+1)/2), k.vecs(k.outs()), k.codes()
	return func() {
		for o, w := range k.w {
			k.i("VLD1 (%s), %s.S[%d]", w, d[0], o)
		}
		if len(d) > 1 {
			k.two("fcvtl2", d[1], d[0])
		}
		k.two("fcvtl", d[0], d[0])
		for o := range k.w {
			k.broadcast(m[o], d[o/2], o%2*2+1)
		}
		for _, v := range d {
			k.three("fmul", v, v, larger)
		}
		for i := range 2 {
			for o := range k.w {
				read(o, i, c[o])
			}
			for part := range 2 {
				k.eight(16*i+8*part, func(o int, lo, hi vec) {
					k.unsigned(part, c[o], lo, hi)
					for _, v := range []vec{lo, hi} {
						k.byElement("fmul", v, v, d[o/2], o%2*2)
						k.three("fadd", v, v, m[o])
					}
				})
			}
		}
		k.advance(32)
		k.advanceWeights(bytes)
	}
}

// fifthBits returns what turns 32 bits in the low word of z into a byte of
// ones for each of the i-th sixteen that is set.
func (k *kernel) fifthBits() func(i int, z vec) {
	bit := k.copy(octets(func(i int) int { return 1 << (i % 8) }))
	var spread [2]vec
	for i := range spread {
		spread[i] = k.copy(octets(func(j int) int { return 2*i + j/8 }))
	}
	return func(i int, z vec) {
		k.tbl(z, z, spread[i])
		k.i("VCMTST %s.B16, %s.B16, %s.B16", bit, z, z)
	}
}

// fiveBits sets c to the i-th sixteen nibbles of 32 at a displacement, below
// the low half of z's bytes.
func (k *kernel) fiveBits(o, i, at int, c, z vec) {
	k.load(c, k.w[o], at)
	if i == 1 {
		k.i("VUSHR $4, %s.B16, %s.B16", c, c)
	}
	k.i("VSLI $4, %s.B16, %s.B16", z, c)
}
