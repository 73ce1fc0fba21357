package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// The k-quants as decoders and fused products read them. To open a block is to
// write its scales to scratch as float32, and its codes as bytes.
var storedKQuants = []stored{
	{name: "Q4_K", values: 256, bytes: 144, open: openAffine(kCodes{low: 16, place: halvesApart})},
	{name: "Q5_K", values: 256, bytes: 176, open: openAffine(kCodes{low: 48, place: halvesApart, mask: 16,
		high: func(half, at int) (int, int) { return 16, at/32*2 + half }})},
	{name: "Q6_K", values: 256, bytes: 210, open: openQ6K},
}

// An opened block: 64 bytes of scales, 256 of codes.
const scratchBytes, scratchCodes = 320, 64

// kCodes says where a block's codes lie: the four low bits in the halves of
// bytes, the high ones in bytes that groups of 32 codes share.
type kCodes struct {
	low  int // of 128 bytes
	mask int // the high bits in their place; 0: none
	// high says where the 32 bytes begin that hold the high bits to the low or
	// high halves at, and which bit of a byte is the first of them.
	high func(half, at int) (disp, bit int)
	bias int // what is taken off a code
	// place is where the codes go of the low or high halves at.
	place func(half, at int) int
}

// halvesApart places the codes of low halves before those of high ones.
func halvesApart(half, at int) int { return 128*half + at }

// expand writes codes to scratch.
func (c kCodes) expand(s isa, m Mem, to scratch) {
	for at := 0; at < 128; at += s.bytes() {
		for half := range 2 {
			v := s.load(m.Offset(c.low + at))
			if half == 1 {
				VPSRLW(Imm(4), v, v)
			}
			and(s, bytesOf(15), v)
			if c.mask != 0 {
				c.addHigh(s, m, half, at, v)
			}
			if c.bias != 0 {
				VPSUBB(bytesOf(c.bias), v, v)
			}
			VMOVUPS(v, to.at(scratchCodes+c.place(half, at)))
		}
	}
}

// addHigh adds the high bits.
func (c kCodes) addHigh(s isa, m Mem, half, at int, v vec) {
	disp, first := c.high(half, at)
	_, last := c.high(half, at+s.bytes()-32)
	h := s.newRegister()
	if s.wide {
		VBROADCASTI64X4(m.Offset(disp), h)
	} else {
		VMOVUPS(m.Offset(disp), h)
	}
	// To bits 4 and up; what comes with them from elsewhere is masked.
	switch first, last = 4-first, 4-last; {
	case first > 0 || last > 0:
		VPSLLVD(halves(first, last), h, h)
	case first < 0 || last < 0:
		VPSRLVD(halves(-first, -last), h, h)
	}
	if s.wide {
		VPTERNLOGD(Imm(0xf8), bytesOf(c.mask), h, v) // v | h & mask
		return
	}
	and(s, bytesOf(c.mask), h)
	or(s, h, v)
}

// halves places eight of each integer.
func halves(a, b int) Mem {
	return word(fmt.Sprintf("halves%d_%d", a, b), func(i int) uint32 { return uint32(a + i/8*(b-a)) })
}

func bytesOf(v int) Mem { return integers(uint32(v) * 0x01010101) }

func and(s isa, m Mem, v vec) {
	if s.wide {
		VPANDD(m, v, v)
	} else {
		VPAND(m, v, v)
	}
}

// openAffine opens a block of Q4_K or Q5_K: d, dmin, 12 bytes of scales and
// minima, codes. Scale times code is exact, so one rounding does for the
// product and the difference.
func openAffine(c kCodes) func(s isa, m Mem, to scratch) func(i int) vec {
	return func(s isa, m Mem, to scratch) func(i int) vec {
		scalesK(s, m, to)
		if s.wide && c.mask == 0 {
			return c.lookUp(s, m, to)
		}
		c.expand(s, m, to)
		var d, least vec
		return func(i int) vec {
			half, at := i*s.lanes/32, i*s.lanes%32
			if at == 0 {
				d, least = s.newRegister(), s.newRegister()
				VBROADCASTSS(to.inPart(8*half, 1), d)
				VBROADCASTSS(to.inPart(8*half+4, 1), least)
			}
			v := s.newRegister()
			VPMOVZXBD(to.inPart(scratchCodes+c.place(half, at), 2), v)
			VCVTDQ2PS(v, v)
			VFMSUB213PS(least, d, v)
			return v
		}
	}
}

// lookUp widens codes of four bits by a table for each 32 of them.
func (c kCodes) lookUp(s isa, m Mem, to scratch) func(i int) vec {
	for at := 0; at < 128; at += s.bytes() {
		VMOVUPS(s.load(m.Offset(c.low+at)), to.at(scratchCodes+at))
	}
	var table vec
	var codes [2]vec
	return func(i int) vec {
		half, at := i/2, i%2
		if at == 0 {
			d := s.newRegister()
			table = s.load(counting(0))
			VBROADCASTSS(to.inPart(8*half, 1), d)
			VFMSUB213PS_BCST(to.inPart(8*half+4, 1), d, table)
		}
		if half == 0 {
			codes[at] = s.newRegister()
			VPMOVZXBD(to.inPart(scratchCodes+16*at, 2), codes[at])
		} else {
			VPSRLD(Imm(4), codes[at], codes[at])
		}
		v := s.newRegister()
		VPERMPS(table, codes[at], v) // by the low four bits
		return v
	}
}

// scalesK writes the eight pairs of scale and minimum of a block: with bytes
// q, those of sub-block j < 4 are the low six bits of q[j] and q[j+4], and
// those of j + 4 the low and the high half of q[j+8] below the high two bits
// of these.
func scalesK(s isa, m Mem, to scratch) {
	q, first, last, top, d := YMM(), YMM(), YMM(), YMM(), YMM()
	if s.wide {
		VBROADCASTI32X4(m, q)
	} else {
		VBROADCASTI128(m, q)
	}
	VPSHUFB(pick("scaleFirst", func(i int) int { return 4 + i/2 + i%2*4 }), q, first)
	VPSHUFB(pick("scaleLast", func(i int) int { return 12 + i/2 }), q, last)
	VPSRLD(Imm(2), first, top)
	and(s, integers(48), top)
	and(s, integers(63), first)
	VPSRLVD(word("scaleHalves", func(i int) uint32 { return uint32(i % 2 * 4) }), last, last)
	and(s, integers(15), last)
	or(s, top, last)
	x := XMM()
	VPBROADCASTD(m, x)
	VCVTPH2PS(x, d)
	for i, v := range []vec{first, last} {
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		VMOVUPS(v, to.at(32*i))
	}
}

// pick places what VPSHUFB takes to widen bytes of each half to 32 bits.
func pick(name string, at func(i int) int) Mem {
	return word(name, func(i int) uint32 { return 0x80808000 | uint32(at(i%8)) })
}

// openQ6K opens a block of Q6_K: 128 bytes of low bits and 64 of high ones, 16
// scales for 16 codes each, d. Two parts are in the low halves of 64 bytes and
// in the high ones.
func openQ6K(s isa, m Mem, to scratch) func(i int) vec {
	c := kCodes{mask: 48, bias: 32,
		high:  func(half, at int) (int, int) { return 128 + at/64*32, 4*half + at/32%2*2 },
		place: func(half, at int) int { return at/64*128 + 64*half + at%64 },
	}
	d := s.half(m.Offset(208))
	for i := 0; i < 16; i += s.lanes {
		v := s.newRegister()
		VPMOVSXBD(m.Offset(192+i), v)
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		VMOVUPS(v, to.at(4*i))
	}
	c.expand(s, m, to)
	var scale vec
	return func(i int) vec {
		column := i * s.lanes
		v := s.newRegister()
		VPMOVSXBD(to.inPart(scratchCodes+column, 4), v)
		VCVTDQ2PS(v, v)
		at := to.inPart(column/16*4, 1)
		if s.wide {
			VMULPS_BCST(at, v, v)
			return v
		}
		if column%16 == 0 {
			scale = s.newRegister()
			VBROADCASTSS(at, scale)
		}
		VMULPS(scale, v, v)
		return v
	}
}
