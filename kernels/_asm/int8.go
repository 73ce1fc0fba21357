package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An interleaved format is how the weights of as many outputs as a vector has lanes lie
// side by side for products with activations of 8 bits (int8pack.go): by 32 columns,
// behind a head that 256 of them share in a k-quant. Offsets are those of a value's first
// byte.
type interleaved struct {
	isa
	name   string
	values int // of a block: 32 or 256
	head   int // bytes of it, of a block of 256: scales, and minima where there are some
	bytes  int // of 32 columns
	minima int // behind scales of binary16, likewise; of a k-quant integers by which those of the head are multiplied; 0: none
	high   int // what a code has beyond four bits; 0: nothing
	codes  int
	bits   int // of a code; those of 8 are signed
	offset int // of codes in sums; 0: none
}

// interleavedFormats returns the formats for a vector's outputs.
func interleavedFormats(s isa) (formats []interleaved) {
	for _, f := range ofEightOutputs {
		f.isa = s
		for _, at := range []*int{&f.head, &f.bytes, &f.minima, &f.high, &f.codes} {
			*at *= s.lanes / 8
		}
		if s.wide && f.bits == 8 {
			f.offset = 128 // VPDPBUSD multiplies codes without a sign
		}
		formats = append(formats, f)
	}
	return formats
}

var ofEightOutputs = []interleaved{
	{name: "Q8_0", values: 32, bytes: 272, codes: 16, bits: 8},
	{name: "Q4_0", values: 32, bytes: 144, codes: 16, bits: 4, offset: 8},
	{name: "Q4_1", values: 32, bytes: 160, minima: 16, codes: 32, bits: 4},
	{name: "Q5_0", values: 32, bytes: 176, high: 16, codes: 48, bits: 5, offset: 16},
	{name: "Q5_1", values: 32, bytes: 192, minima: 16, high: 32, codes: 64, bits: 5, offset: 16},
	{name: "Q4_K", values: 256, head: 32, bytes: 144, minima: 8, codes: 16, bits: 4},
	{name: "Q5_K", values: 256, head: 32, bytes: 176, minima: 8, high: 16, codes: 48, bits: 5, offset: 16},
	{name: "Q6_K", values: 256, head: 16, bytes: 208, high: 16, codes: 80, bits: 6, offset: 32},
}

// A block of rounded activations (int8.go).
const (
	roundedBytes = 56
	roundedScale = 0
	roundedSum   = 4 // times the scale
	roundedOff   = 8 // what offsets of 8 and 16 take off the sums of 32 columns, and of 32 off those of 16
	roundedCodes = 24
	wideBytes    = 64 // of its values in 16 bits
)

// row is that of a block of rounded activations.
func row(x reg.Register, r int) Mem { return Mem{Base: x, Disp: r * roundedBytes} }

// int8TileRows are the most rows that share weights that are unpacked for AVX2.
const int8TileRows = 6

// int8Rows are the most that share weights in registers.
func int8Rows(s isa) int {
	if s.wide {
		return 8
	}
	return 4
}

// int8Products generates the products with 8-bit instructions of AVX2 or, of twice as
// wide vectors, with those of AVX-512 VNNI, which add four products to a sum of 32 bits.
// What AVX2 gives many rows, unpacked weights, is no faster than eight rows with VNNI.
func int8Products(s isa) {
	formats := interleavedFormats(s)
	for _, f := range formats {
		for rows := 1; rows <= int8Rows(s); rows++ {
			int8Product(f, rows)
		}
	}
	if s.wide {
		return
	}
	for _, f := range formats {
		int8Unpack(f)
	}
	for _, k := range unpackedKinds[s.suffix] {
		for rows := 1; rows <= int8TileRows; rows++ {
			int8Tile(k, rows)
		}
	}
	roundRow(s.suffix)
}

// begin begins the loop over blocks and, in a k-quant, the one over the 32 columns
// of each, for which it returns where the block's head lies; next ends them.
func (f interleaved) begin(w reg.Register) (head, left reg.Register) {
	loopStart("blocks")
	if f.head == 0 {
		return w, nil
	}
	head, left = GP64(), GP64()
	MOVQ(w, head)
	ADDQ(Imm(uint64(f.head)), w)
	MOVQ(I32(8), left)
	loopStart("parts")
	return head, left
}

func (f interleaved) next(left, blocks reg.Register) {
	if f.head > 0 {
		DECQ(left)
		JNE(LabelRef("parts"))
	}
	DECQ(blocks)
	JNE(LabelRef("blocks"))
}

func int8Product(f interleaved, rows int) {
	TEXT(fmt.Sprintf("int8%s_%d%s", f.name, rows, f.suffix), NOSPLIT,
		"func(dst *float32, dstStride int, x *byte, step int, w *byte, blocks, groups int)")
	Doc(fmt.Sprintf("%d rows of rounded activations times groups of %d outputs, interleaved from %s:", rows, f.lanes, f.name),
		fmt.Sprintf("sums of products are exact by 32 columns, and added in order over blocks of %d.", f.values))
	Pragma("noescape")
	dst, x, w, groups, step := pointer("dst"), pointer("x"), pointer("w"), pointer("groups"), pointer("step")
	masks := f.masks(rows)
	Label("groups")
	acc := make([]vec, rows)
	for r := range acc {
		acc[r] = f.zero()
	}
	n := pointer("blocks")
	head, left := f.begin(w)
	f.prefetch(w)
	f.columns(x, w, head, acc, masks)
	ADDQ(I32(int32(f.bytes)), w)
	ADDQ(step, x)
	f.next(left, n)
	ds, to := pointer("dstStride"), GP64()
	MOVQ(dst, to)
	for r := range acc {
		VMOVUPS(acc[r], Mem{Base: to})
		if r < rows-1 {
			ADDQ(ds, to)
		}
	}
	ADDQ(Imm(uint64(f.isa.bytes())), dst)
	MOVQ(pointer("x"), x)
	DECQ(groups)
	JNE(LabelRef("groups"))
	end()
}

// int8Ahead is how many bytes before their use weights are asked for.
const int8Ahead = 4096

func (f interleaved) prefetch(w reg.Register) {
	for line := 0; line < f.bytes; line += 64 {
		PREFETCHT0(Mem{Base: w, Disp: int8Ahead + line})
	}
}

// columns adds the products of 32 columns.
func (f interleaved) columns(x, w, head reg.Register, acc []vec, masks codeMasks) {
	sums := make([]vec, len(acc))
	if f.wide {
		f.dotsWide(x, w, sums, masks)
	} else {
		f.dots(x, w, sums, masks)
	}
	scale := f.scale(w, head)
	for r := range acc {
		f.addScaled(sums[r], scale, row(x, r), acc[r])
	}
	if f.minima == 0 {
		return
	}
	least, below := f.least(w, head, scale)
	for r := range acc {
		t := f.newRegister()
		VBROADCASTSS(row(x, r).Offset(roundedSum), t)
		if below {
			VFNMADD231PS(least, t, acc[r])
		} else {
			VFMADD231PS(least, t, acc[r])
		}
	}
}

// dots sets sums to those of 32 columns.
func (f interleaved) dots(x, w reg.Register, sums []vec, masks codeMasks) {
	pairs := make([]vec, len(sums))
	codes := f.codesAt(w, masks, true)
	for i := range 8 {
		g, half := i, i/4
		if f.bits < 6 { // what is loaded together is used together
			g = i/2 + i%2*4
		}
		code := codes(g)
		var size vec
		if f.bits == 8 {
			size = YMM()
			VPABSB(code, size)
		}
		for r := range sums {
			t := YMM()
			VPBROADCASTD(row(x, r).Offset(roundedCodes+4*g), t)
			if f.bits == 8 { // the sign goes to the activation
				VPSIGNB(code, t, t)
				VPMADDUBSW(t, size, t)
				VPMADDWD(pairsOf(1), t, t)
				sums[r] = addTo(sums[r], t, VPADDD)
				continue
			}
			VPMADDUBSW(t, code, t)
			if i == 0 || f.bits == 6 && i == 4 {
				pairs[r] = takenOff(row(x, r), f.offset, half)
			}
			pairs[r] = addTo(pairs[r], t, VPADDW)
		}
		switch {
		case f.bits == 6 && i%4 == 3: // a scale for each 16
			factor := f.factor(w, half)
			for r := range sums {
				VPMADDWD(factor, pairs[r], pairs[r])
				sums[r] = addTo(sums[r], pairs[r], VPADDD)
			}
		case f.bits < 6 && i == 7:
			for r := range sums {
				VPMADDWD(pairsOf(1), pairs[r], pairs[r])
				sums[r] = pairs[r]
			}
		}
	}
}

// dotsWide is dots with VPDPBUSD, to float32 where a scale for each 16 columns is in
// them: below 2^24, so as exact as integers are.
func (f interleaved) dotsWide(x, w reg.Register, sums []vec, masks codeMasks) {
	codes := f.codesAt(w, masks, len(sums) > 4)
	each := make([]vec, len(sums))
	for i := range 8 {
		g, half := i, i/4
		if f.bits < 6 {
			g = i/2 + i%2*4
		}
		code := codes(g)
		for r := range sums {
			if i == 0 || f.bits == 6 && i == 4 {
				each[r] = startWide(row(x, r), f.offset, half, masks.pairs)
			}
			VPDPBUSD_BCST(row(x, r).Offset(roundedCodes+4*g), code, each[r])
		}
		if f.bits == 6 && i%4 == 3 {
			factor := f.factor(w, half)
			for r := range sums {
				sums[r] = addHalf(sums[r], each[r], factor)
			}
		}
	}
	if f.bits != 6 {
		copy(sums, each)
	}
}

// addHalf adds the sum of sixteen columns, times its factor, to that of 32, of which
// they may be the first.
func addHalf(sum, half vec, factor Op) vec {
	VCVTDQ2PS(half, half)
	if sum == nil {
		VMULPS(factor, half, half)
		return half
	}
	VFMADD231PS(factor, half, sum)
	return sum
}

// startWide is what a sum of 32 columns begins with, or of a half of them where the
// offset is 32: what an offset of codes takes off it, by its startFactor.
func startWide(x Mem, offset, half int, factor Op) vec {
	v := ZMM()
	VPSUBD(v, v, v) // of VPXORD, avo believes that it reads v
	if offset > 0 {
		VPDPWSSD_BCST(x.Offset(offPairs(offset, half)), factor, v)
	}
	return v
}

// startFactor is what pairs of 16 bits that a row has for an offset are multiplied by:
// those of 16 serve 128 too.
func startFactor(offset int) vec {
	if offset == 128 {
		return avx512.load(pairsOf(8))
	}
	return avx512.load(pairsOf(1))
}

// addTo adds t to a sum, of which it may be the first.
func addTo(sum, t vec, add func(ops ...Op)) vec {
	if sum == nil {
		return t
	}
	add(t, sum, sum)
	return sum
}

// takenOff returns what an offset of codes takes off the sums of 16 bits: those of
// 32 columns or, where it is 32, of a half of them. What comes of it all fits 16
// bits, whatever overflows on the way.
func takenOff(x Mem, offset, half int) vec {
	if offset == 0 {
		return nil
	}
	v := YMM()
	VPBROADCASTD(x.Offset(offPairs(offset, half)), v)
	return v
}

// offPairs is where a row has what an offset takes off sums, as a pair of 16 bits.
func offPairs(offset, half int) int {
	return roundedOff + map[int]int{8: 0, 16: 4, 128: 4, 32: 8 + 4*half}[offset]
}

// addScaled adds sums times the scales of weights and activations.
func (f interleaved) addScaled(sum vec, scale Op, x Mem, acc vec) {
	t := f.newRegister()
	VBROADCASTSS(x.Offset(roundedScale), t)
	VMULPS(scale, t, t)
	if !f.wide || f.bits != 6 {
		VCVTDQ2PS(sum, sum)
	}
	VFMADD231PS(t, sum, acc)
}

// codeMasks are what codes are cut out with: in registers, but for the rows that leave
// none to Q6_K with AVX2; and with AVX-512 what offsets are taken off with.
type codeMasks struct{ low, high, pairs Op }

func (f interleaved) masks(rows int) (m codeMasks) {
	if f.bits < 8 {
		m.low = f.load(eachByte(15))
	}
	if f.high > 0 {
		high := eachByte(uint32(16<<(f.bits-5) | 16))
		m.high = high
		if f.bits < 6 || rows < 4 || f.wide {
			m.high = f.load(high)
		}
	}
	if f.wide && f.offset > 0 {
		m.pairs = startFactor(f.offset)
	}
	if f.wide && f.bits == 8 {
		m.low = f.load(eachByte(128))
	}
	return m
}

// codesAt returns what yields the codes of columns [4g, 4g+4), four of each output.
// Codes of eight bits get an offset with AVX-512, which multiplies those without a sign.
// Those of Q6_K are loaded again where there are too few registers to keep them.
func (f interleaved) codesAt(w reg.Register, masks codeMasks, again bool) func(g int) vec {
	loaded := map[int]vec{}
	load := func(at int) vec {
		if loaded[at] == nil || f.bits == 6 && at >= f.codes && again { // too far apart to be kept
			loaded[at] = f.load(Mem{Base: w, Disp: at})
		}
		return loaded[at]
	}
	next := f.isa.bytes()
	return func(g int) vec {
		if f.bits == 8 {
			code := load(f.codes + next*g)
			if f.wide {
				VPXORD(masks.low, code, code)
			}
			return code
		}
		v, from := f.newRegister(), load(f.codes+next*(g%4))
		if g >= 4 {
			VPSRLW(Imm(4), from, v)
			from = v
		}
		f.and(masks.low, from, v)
		if f.high == 0 {
			return v
		}
		at, left := f.high, 4-g
		if f.bits == 6 { // two bits
			at, left = at+next*(g/4), 4-2*(g%4)
		}
		h, from := f.newRegister(), load(at)
		switch {
		case left > 0:
			VPSLLW(Imm(uint64(left)), from, h)
			from = h
		case left < 0:
			VPSRLW(Imm(uint64(-left)), from, h)
			from = h
		}
		if f.wide {
			VPTERNLOGD(Imm(0xf8), masks.high, from, v) // v | from & high
			return v
		}
		VPAND(masks.high, from, h)
		VPOR(h, v, v)
		return v
	}
}

func (s isa) and(a, b, dst Op) {
	if s.wide {
		VPANDD(a, b, dst)
	} else {
		VPAND(a, b, dst)
	}
}

// factor is what the sums of a half of 32 columns of Q6_K are multiplied by: their
// scale, twice as 16 bits or, with AVX-512, as float32.
func (f interleaved) factor(w reg.Register, half int) vec {
	v := f.newRegister()
	VPMOVSXBD(Mem{Base: w, Disp: f.lanes * half}, v)
	if f.wide {
		VCVTDQ2PS(v, v)
		return v
	}
	twice := YMM()
	VPSLLD(Imm(16), v, twice)
	VPBLENDW(Imm(0xaa), twice, v, v)
	return v
}

func (f interleaved) scale(w, head reg.Register) vec { return f.widened(w, head, 0, 0) }

// least returns what is multiplied by the sum of activations, or what is negative of
// it: the minimum and, of a format that has both, the codes' offset.
func (f interleaved) least(w, head reg.Register, scale vec) (least vec, below bool) {
	least = f.widened(w, head, f.minima, 2*f.lanes)
	switch {
	case f.offset == 0:
		return least, f.head > 0
	case f.head > 0:
		VFMSUB231PS(constant(float32(f.offset)), scale, least)
	default:
		VFMADD231PS(constant(float32(f.offset)), scale, least)
	}
	return least, false
}

// widened returns the scales or minima of 32 columns.
func (f interleaved) widened(w, head reg.Register, at, inHead int) vec {
	v := f.newRegister()
	if f.head == 0 {
		VCVTPH2PS(Mem{Base: w, Disp: at}, v)
		return v
	}
	VCVTPH2PS(Mem{Base: head, Disp: inHead}, v)
	if f.bits != 6 {
		t := f.newRegister()
		VPMOVZXBD(Mem{Base: w, Disp: at}, t)
		VCVTDQ2PS(t, t)
		VMULPS(t, v, v)
	}
	return v
}

// eachByte and pairsOf place constants of 8 and of 16 bits.
func eachByte(v uint32) Mem { return integers(v * 0x01010101) }
func pairsOf(v uint32) Mem  { return integers(v * 0x00010001) }
