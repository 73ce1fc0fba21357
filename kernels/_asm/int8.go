package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An interleaved format is how the weights of eight outputs lie side by side for
// products with activations of 8 bits (int8pack.go): by 32 columns, behind a head
// that 256 of them share in a k-quant. Offsets are those of a value's first byte.
type interleaved struct {
	name     string
	values   int // of a block: 32 or 256
	head     int // bytes of it, of a block of 256: scales, and minima where there are some
	bytes    int // of 32 columns
	scales   int // of 32 columns, binary16; of a k-quant integers by which those of the head are multiplied
	minima   int // likewise; 0: none
	high     int // what a code has beyond four bits; 0: nothing
	codes    int
	together int // sums of four products that fit 16 bits together; 1: codes are signed
	offset   int // of codes: 8 or 16; 0: none
}

var interleavedFormats = []interleaved{
	{name: "Q8_0", values: 32, bytes: 272, codes: 16, together: 1},
	{name: "Q4_0", values: 32, bytes: 144, codes: 16, together: 8, offset: 8},
	{name: "Q4_1", values: 32, bytes: 160, minima: 16, codes: 32, together: 8},
	{name: "Q5_0", values: 32, bytes: 176, high: 16, codes: 48, together: 4, offset: 16},
	{name: "Q5_1", values: 32, bytes: 192, minima: 16, high: 32, codes: 64, together: 4},
	{name: "Q4_K", values: 256, head: 32, bytes: 144, minima: 8, codes: 16, together: 8},
	{name: "Q5_K", values: 256, head: 32, bytes: 176, minima: 8, high: 16, codes: 48, together: 4},
	{name: "Q6_K", values: 256, head: 16, bytes: 208, high: 16, codes: 80, together: 2},
}

// A block of rounded activations (int8.go).
const (
	roundedBytes = 48
	roundedScale = 0
	roundedSum   = 4 // times the scale
	roundedEight = 8 // eight times the sum
	roundedHalf  = 12
	roundedCodes = 16
)

// int8Rows is the most rows that share weights in registers.
const int8Rows = 4

func int8Products() {
	for _, f := range interleavedFormats {
		for rows := 1; rows <= int8Rows; rows++ {
			int8Product(f, rows)
		}
	}
	roundRow()
}

func int8Product(f interleaved, rows int) {
	TEXT(fmt.Sprintf("int8%s_%dAVX2", f.name, rows), NOSPLIT,
		"func(dst *float32, dstStride int, x *byte, xStride int, w *byte, blocks, groups int)")
	Doc(fmt.Sprintf("%d rows of rounded activations times groups of eight outputs, interleaved from %s:", rows, f.name),
		fmt.Sprintf("sums of products are exact by 32 columns, and added in order over blocks of %d.", f.values))
	Pragma("noescape")
	dst, x, w, groups := pointer("dst"), pointer("x"), pointer("w"), pointer("groups")
	xRow := strided(x, pointer("xStride"), rows)
	Label("groups")
	acc := make([]vec, rows)
	for r := range acc {
		acc[r] = avx2.zero()
	}
	n, head, left := pointer("blocks"), reg.Register(w), GP64()
	loopStart("blocks")
	if f.head > 0 {
		head = GP64()
		MOVQ(w, head)
		ADDQ(Imm(uint64(f.head)), w)
		MOVQ(I32(8), left)
		loopStart("parts")
	}
	for line := 0; line < f.bytes; line += 64 {
		PREFETCHT0(Mem{Base: w, Disp: int8Ahead + line})
	}
	f.columns(xRow, w, head, acc)
	ADDQ(I32(int32(f.bytes)), w)
	for _, p := range xRow.bases {
		ADDQ(Imm(roundedBytes), p)
	}
	if f.head > 0 {
		DECQ(left)
		JNE(LabelRef("parts"))
	}
	DECQ(n)
	JNE(LabelRef("blocks"))
	ds, to := pointer("dstStride"), GP64()
	MOVQ(dst, to)
	for r := range acc {
		VMOVUPS(acc[r], Mem{Base: to})
		if r < rows-1 {
			ADDQ(ds, to)
		}
	}
	ADDQ(Imm(32), dst)
	back := pointer("blocks")
	IMUL3Q(I32(int32(roundedBytes*f.values/32)), back, back)
	for _, p := range xRow.bases {
		SUBQ(back, p)
	}
	DECQ(groups)
	JNE(LabelRef("groups"))
	end()
}

// int8Ahead is how many bytes before their use weights are asked for.
const int8Ahead = 4096

// columns adds the products of 32 columns.
func (f interleaved) columns(xRow rowsAt, w, head reg.Register, acc []vec) {
	sums := make([]vec, len(acc))
	var scale, minimum vec
	for first := 0; first < 8; first += f.together {
		var codes []vec
		for g := first; g < first+f.together; g++ {
			codes = append(codes, f.code(w, g))
		}
		factor := f.factor(w, first)
		last := first+f.together == 8
		if last {
			scale = f.scale(w, head)
		}
		for r := range acc {
			t := f.products(codes, xRow.at(r).Offset(roundedCodes+4*first))
			VPMADDWD(factor, t, t)
			if first == 0 {
				sums[r] = t
			} else {
				VPADDD(t, sums[r], sums[r])
			}
			if last {
				f.finish(w, xRow.at(r), sums[r], scale, acc[r])
			}
		}
	}
	if f.minima == 0 {
		return
	}
	minimum = f.least(w, head)
	for r := range acc {
		t := YMM()
		VBROADCASTSS(xRow.at(r).Offset(roundedSum), t)
		VMULPS(minimum, t, t)
		if f.head > 0 {
			VSUBPS(t, acc[r], acc[r])
		} else {
			VADDPS(t, acc[r], acc[r])
		}
	}
}

// code returns the codes of columns [4g, 4g+4), four of each output.
func (f interleaved) code(w reg.Register, g int) vec {
	v := YMM()
	if f.together == 1 {
		VMOVDQU(Mem{Base: w, Disp: f.codes + 32*g}, v)
		return v
	}
	VMOVDQU(Mem{Base: w, Disp: f.codes + 32*(g%4)}, v)
	if g >= 4 {
		VPSRLW(Imm(4), v, v)
	}
	VPAND(eachByte(15), v, v)
	if f.high == 0 {
		return v
	}
	h := YMM()
	at, left, mask := f.high, 4-g, eachByte(16)
	if f.together == 2 { // two bits
		at, left, mask = at+32*(g/4), 4-2*(g%4), eachByte(48)
	}
	VMOVDQU(Mem{Base: w, Disp: at}, h)
	switch {
	case left > 0:
		VPSLLW(Imm(uint64(left)), h, h)
	case left < 0:
		VPSRLW(Imm(uint64(-left)), h, h)
	}
	VPAND(mask, h, h)
	VPOR(h, v, v)
	return v
}

// products adds, in 16 bits, the products of codes with the activations at x, in
// pairs of columns.
func (f interleaved) products(codes []vec, x Mem) (sum vec) {
	for i, w := range codes {
		t := YMM()
		VPBROADCASTD(x.Offset(4*i), t)
		if f.together == 1 {
			size := YMM()
			VPABSB(w, size)
			VPSIGNB(w, t, t)
			w = size
		}
		VPMADDUBSW(t, w, t)
		if i == 0 {
			sum = t
		} else {
			VPADDW(t, sum, sum)
		}
	}
	return sum
}

// factor is what the sums of columns from 4·first on are multiplied by: of Q6_K the
// scale of their sixteen.
func (f interleaved) factor(w reg.Register, first int) Op {
	if f.together != 2 {
		return pairs(1)
	}
	return f.pair(w, first/4, first/4)
}

// pair returns the scales of two sixteens of each output.
func (f interleaved) pair(w reg.Register, low, high int) vec {
	a, b := YMM(), YMM()
	VPMOVSXBD(Mem{Base: w, Disp: 8 * low}, a)
	VPMOVSXBD(Mem{Base: w, Disp: 8 * high}, b)
	VPSLLD(Imm(16), b, b)
	VPBLENDW(Imm(0xaa), b, a, a)
	return a
}

func (f interleaved) scale(w, head reg.Register) vec { return f.widened(w, head, f.scales, 0) }
func (f interleaved) least(w, head reg.Register) vec { return f.widened(w, head, f.minima, 16) }

// widened returns the scales or minima of 32 columns.
func (f interleaved) widened(w, head reg.Register, at, inHead int) vec {
	v := YMM()
	if f.head == 0 {
		VCVTPH2PS(Mem{Base: w, Disp: at}, v)
		return v
	}
	VCVTPH2PS(Mem{Base: head, Disp: inHead}, v)
	if f.together != 2 {
		t := YMM()
		VPMOVZXBD(Mem{Base: w, Disp: at}, t)
		VCVTDQ2PS(t, t)
		VMULPS(t, v, v)
	}
	return v
}

// finish takes the offset of the codes off a sum and adds it, scaled.
func (f interleaved) finish(w reg.Register, x Mem, sum, scale, acc vec) {
	t := YMM()
	switch {
	case f.offset > 0:
		VPBROADCASTD(x.Offset(roundedEight), t)
		if f.offset == 16 {
			VPSLLD(Imm(1), t, t)
		}
		VPSUBD(t, sum, sum)
	case f.together == 2:
		VPBROADCASTD(x.Offset(roundedHalf), t)
		VPMADDWD(f.pair(w, 0, 1), t, t)
		VPSLLD(Imm(5), t, t)
		VPSUBD(t, sum, sum)
	}
	VCVTDQ2PS(sum, sum)
	t = YMM()
	VBROADCASTSS(x.Offset(roundedScale), t)
	VMULPS(scale, t, t)
	VMULPS(t, sum, sum)
	VADDPS(sum, acc, acc)
}

// eachByte and pairs place constants of 8 and of 16 bits.
func eachByte(v uint32) Mem { return integers(v * 0x01010101) }
func pairs(v uint32) Mem    { return integers(v * 0x00010001) }

// roundRow generates the rounding of a row of activations.
func roundRow() {
	TEXT("int8RoundAVX2", NOSPLIT, "func(dst *byte, x *float32, blocks int)")
	Doc("dst = blocks of 32 activations of x, rounded to 8 bits: see roundBlock.")
	Pragma("noescape")
	dst, x, n := pointer("dst"), pointer("x"), pointer("blocks")
	order := avx2.load(word("int8Order", func(i int) uint32 { return uint32([]int{0, 4, 1, 5, 2, 6, 3, 7}[i%8]) }))
	loopStart("loop")
	var v [4]vec
	var top vec
	for i := range v {
		v[i] = avx2.load(Mem{Base: x, Disp: 32 * i})
		size := YMM()
		VPAND(integers(0x7fffffff), v[i], size)
		if i == 0 {
			top = size
		} else {
			VPMAXSD(size, top, top) // as integers, among which NaN is the largest
		}
	}
	largest, t := XMM(), XMM()
	VEXTRACTI128(Imm(1), top, largest)
	VPMAXSD(top.AsX(), largest, largest)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPSHUFD(Imm(swap), largest, t)
		VPMAXSD(t, largest, largest)
	}
	// What is not above the least counts as 0; the difference makes a NaN of an infinity.
	above, d, inverse, steps := XMM(), XMM(), XMM(), XMM()
	VPCMPGTD(integers(leastRounded), largest, above)
	VMOVSS(constant(127), steps)
	VDIVSS(steps, largest, d)
	VDIVSS(largest, steps, inverse)
	VSUBSS(largest, largest, t)
	VADDSS(t, d, d)
	VPAND(above, d, d)
	VPAND(above, inverse, inverse)
	VMOVSS(d, Mem{Base: dst, Disp: roundedScale})
	factor := YMM()
	VBROADCASTSS(inverse, factor)
	for i := range v {
		VMULPS(factor, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	VMOVDQU(v[0], Mem{Base: dst, Disp: roundedCodes})
	sums, swapped := avx2.load(eachByte(1)), YMM()
	VPMADDUBSW(v[0], sums, sums)
	VPMADDWD(pairs(1), sums, sums)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPSHUFD(Imm(swap), sums, swapped)
		VPADDD(swapped, sums, sums)
	}
	upper := XMM()
	VEXTRACTI128(Imm(1), sums, upper)
	low, high, sum := GP32(), GP32(), GP32()
	VMOVD(sums.AsX(), low)
	VMOVD(upper, high)
	LEAL(Mem{Base: low, Index: high, Scale: 1}, sum)
	VCVTSI2SSL(sum, t, t)
	VMULSS(d, t, t)
	VMOVSS(t, Mem{Base: dst, Disp: roundedSum})
	SHLL(Imm(3), sum)
	MOVL(sum, Mem{Base: dst, Disp: roundedEight})
	MOVW(low.As16(), Mem{Base: dst, Disp: roundedHalf})
	MOVW(high.As16(), Mem{Base: dst, Disp: roundedHalf + 2})
	ADDQ(I32(128), x)
	ADDQ(Imm(roundedBytes), dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

// leastRounded is 2^-100, as an integer: blocks of nothing larger count as zeros.
const leastRounded = (127 - 100) << 23
