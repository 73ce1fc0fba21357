package main

import "math"

func bitsOf(v float32) uint32 { return math.Float32bits(v) }

// subBlocks adds a block of Q4_K or Q5_K: eight sub-blocks of 32 values, two to
// a run of 32 bytes, which begin after so many. read sets c to codes
// [16i, 16i+16) of sub-block j of a run.
func (k *kernel) subBlocks(before int, read func(o, j, i int, c vec)) func() {
	d, m, c := k.vecs(k.outs()), k.vecs(k.outs()), k.codes()
	part, count := k.gp(), k.gp()
	return func() {
		giveBack := k.lend(k.wide, k.xv, d, m, c)
		for o, w := range k.w {
			k.scalesK(w, scratchBytes*o)
		}
		giveBack()
		k.advanceWeights(before)
		k.i("MOVD %s, %s", k.scratch, part)
		k.i("MOVD $4, %s", count)
		k.label("part")
		for j := range 2 {
			for o := range k.w {
				k.i("FMOVS %d(%s), %s", scratchBytes*o+4*j, part, d[o].f())
				k.i("FMOVS %d(%s), %s", scratchBytes*o+4*j+32, part, m[o].f())
				k.broadcast(m[o], m[o], 0)
			}
			for i := range 2 {
				for o := range k.w {
					read(o, j, i, c[o])
				}
				for half := range 2 {
					k.eight(32*j+16*i+8*half, func(o int, lo, hi vec) {
						k.unsigned(half, c[o], lo, hi)
						for _, v := range []vec{lo, hi} {
							k.byElement("fmul", v, v, d[o], 0)
							k.three("fsub", v, v, m[o])
						}
					})
				}
			}
		}
		k.advance(64)
		k.advanceWeights(32)
		k.add(part, 8)
		k.i("SUBS $1, %s, %s", count, count)
		k.i("BNE part")
	}
}

// scalesK writes the eight scales and then the eight minima of a block to
// scratch, the former over tiny. With bytes q, those of sub-block j < 4 are the
// low six bits of q[j] and q[j+4], and those of j + 4 the low and the high half
// of q[j+8] below the high two bits of these.
func (k *kernel) scalesK(w gp, to int) {
	defer k.scope()()
	head := k.vec()
	k.load(head, w, 0)
	const first = 4 // of the twelve bytes
	six := k.picked(head, octets(func(i int) int { return first + i%4 + i/8*4 }),
		octets(func(i int) int { return -2 * (i / 4 % 2) }), octets(func(i int) int { return 63 - 15*(i/4%2) }))
	four := k.picked(head, octets(func(i int) int { return []int{0xff, first + 8 + i%4}[i/4%2] }),
		octets(func(i int) int { return -4 * (i / 8) }), octets(func(int) int { return 15 }))
	k.or(six, six, four)
	factors := k.vec()
	k.two("fcvtl", factors, head)
	k.three("fmul", factors, factors, k.copy(words(func(i int) uint32 {
		return bitsOf([]float32{1 / tiny / tiny, 1 / tiny, 0, 0}[i])
	})))
	for part := range 2 {
		lo, hi := k.vec(), k.vec()
		k.unsigned(part, six, lo, hi)
		k.byElement("fmul", lo, lo, factors, part)
		k.byElement("fmul", hi, hi, factors, part)
		k.storePair(lo, hi, k.scratch, to+32*part)
		k.free(lo)
		k.free(hi)
	}
}

// picked picks bytes, shifts each to the left, or right if less than 0, and masks
// it.
func (k *kernel) picked(head vec, pick, shift, mask [4]uint32) vec {
	t := k.vec()
	v := k.copy(pick)
	k.tbl(v, head, v)
	k.copyTo(t, shift)
	k.three("ushl", v, v, t)
	k.copyTo(t, mask)
	k.and(v, v, t)
	k.free(t)
	return v
}

// q6K adds a block of Q6_K: 128 bytes of low bits and 64 of high ones, 16
// scales for 16 codes each, d.
func (k *kernel) q6K() func() {
	sign := k.bytesOf(0x80)
	signed := k.signedCodes("top6")
	d, c := k.vecs(k.outs()), k.codes()
	part, count := k.gp(), k.gp()
	for range k.w {
		k.beside = append(k.beside, k.gp())
	}
	return func() {
		giveBack := k.lend(k.wide, k.xv, d, c)
		for o, w := range k.w {
			k.scalesQ6K(w, k.beside[o], scratchBytes*o, signed)
			k.i("ADD $128, %s, %s", w, k.beside[o])
		}
		giveBack()
		k.i("MOVD %s, %s", k.scratch, part)
		k.i("MOVD $2, %s", count)
		k.label("part")
		for i := range 8 {
			for o := range k.w {
				k.i("FMOVS %d(%s), %s", scratchBytes*o+4*i, part, d[o].f())
				// The code less 32, times four: its high bits above the others,
				// and the sign turned round.
				upper := k.wide[2*o]
				k.load(upper, k.beside[o], i%2*16)
				if i > 1 {
					k.i("VUSHR $%d, %s.B16, %s.B16", i/2*2, upper, upper)
				}
				k.load(c[o], k.w[o], i%4*16)
				if i > 3 {
					k.i("VUSHR $4, %s.B16, %s.B16", c[o], c[o])
				}
				k.i("VSHL $2, %s.B16, %s.B16", c[o], c[o])
				k.i("VSLI $6, %s.B16, %s.B16", upper, c[o])
				k.i("VEOR %s.B16, %s.B16, %s.B16", sign, c[o], c[o])
			}
			for half := range 2 {
				k.eight(16*i+8*half, func(o int, lo, hi vec) {
					signed(half, c[o], lo, hi)
					k.byElement("fmul", lo, lo, d[o], 0)
					k.byElement("fmul", hi, hi, d[o], 0)
				})
			}
		}
		k.advance(128)
		k.advanceWeights(64)
		for _, p := range k.beside {
			k.add(p, 32)
		}
		k.add(part, 32)
		k.i("SUBS $1, %s, %s", count, count)
		k.i("BNE part")
		k.advanceWeights(210 - 128)
	}
}

// scalesQ6K writes a block's sixteen scales to scratch: bytes at the top of a
// lane are worth four times what signed makes of them.
func (k *kernel) scalesQ6K(w, t gp, to int, signed func(part int, c, lo, hi vec)) {
	defer k.scope()()
	c, d, lo, hi := k.vec(), k.vec(), k.vec(), k.vec()
	k.load(c, w, 192)
	k.i("ADD $208, %s, %s", w, t)
	k.i("VLD1 (%s), %s.H[0]", t, d)
	k.two("fcvtl", d, d)
	k.three("fmul", d, d, k.copy(all(4)))
	for part := range 2 {
		signed(part, c, lo, hi)
		k.byElement("fmul", lo, lo, d, 0)
		k.byElement("fmul", hi, hi, d, 0)
		k.storePair(lo, hi, k.scratch, to+32*part)
	}
}
