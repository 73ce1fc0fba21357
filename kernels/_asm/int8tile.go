package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Many rows read weights that are unpacked, once for all of them: by 32 columns, of
// sixteen outputs, of which each value is two vectors side by side. There are scales,
// minima or the integer scales of sixteen columns where there are some, and then
// codes: a byte each, four of each output in a vector; those of eight bits have 16, two of
// each output, for activations of 16 bits.
type unpacked struct {
	name   string
	minima bool
	bits   int // as of interleaved
}

var unpackedKinds = []unpacked{
	{"Four", true, 4}, {"Five", false, 5}, {"FiveMin", true, 5}, {"Six", false, 6}, {"Eight", false, 8},
}

// unpackedPair are the bytes of a value of sixteen outputs.
const unpackedPair = 64

// kind is that of the unpacked codes: Q4_0 gets the offset of Q5_0.
func (f interleaved) kind() unpacked {
	at := map[string]int{"Q4_1": 0, "Q4_K": 0, "Q4_0": 1, "Q5_0": 1, "Q5_1": 2, "Q5_K": 2, "Q6_K": 3, "Q8_0": 4}
	return unpackedKinds[at[f.name]]
}

// places are where minima, integer scales and codes begin, and what 32 columns take.
func (k unpacked) places() (minima, factors, codes, bytes int) {
	minima, factors, codes = unpackedPair, unpackedPair, unpackedPair
	if k.minima {
		codes += unpackedPair
	}
	if k.bits == 6 {
		codes += 2 * unpackedPair
	}
	return minima, factors, codes, codes + k.vectors()*unpackedPair
}

// vectors is how many there are of codes.
func (k unpacked) vectors() int {
	if k.bits == 8 {
		return 16
	}
	return 8
}

func int8Unpack(f interleaved) {
	TEXT("int8Unpack"+f.name+"AVX2", NOSPLIT, "func(dst, w *byte, blocks int)")
	Doc("dst = blocks of a group of eight outputs, interleaved from " + f.name + ", as one of two for int8Tile" + f.kind().name + ".")
	Pragma("noescape")
	dst, w, n := pointer("dst"), pointer("w"), pointer("blocks")
	minima, factors, codes, bytes := f.kind().places()
	put := func(v vec, at int) { VMOVDQU(v, Mem{Base: dst, Disp: at}) }
	masks := f.masks(1)
	head, left := f.begin(w)
	f.prefetch(w)
	codesOf := f.codesAt(w, masks)
	for g := range 8 {
		v := codesOf(g)
		switch {
		case f.bits == 8:
			for i := range 2 { // bytes 2i and 2i+1 of each four, to the upper bytes of words
				t := YMM()
				VPSHUFB(word(fmt.Sprintf("int8Widen%d", i), func(lane int) uint32 {
					at := uint32(4*(lane%4) + 2*i)
					return 0x00800080 | at<<8 | (at+1)<<24
				}), v, t)
				VPSRAW(Imm(8), t, t)
				put(t, codes+(2*g+i)*unpackedPair)
			}
			continue
		case f.name == "Q4_0":
			VPADDB(eachByte(8), v, v)
		}
		put(v, codes+g*unpackedPair)
	}
	if f.bits == 6 {
		for half := range 2 {
			put(f.factor(w, half), factors+half*unpackedPair)
		}
	}
	scale := f.scale(w, head)
	put(scale, 0)
	if f.minima > 0 {
		least, below := f.least(w, head, scale)
		if below {
			VXORPS(integers(1<<31), least, least)
		}
		put(least, minima)
	}
	ADDQ(I32(int32(f.bytes)), w)
	ADDQ(I32(int32(bytes)), dst)
	f.next(left, n)
	end()
}

func int8Tile(k unpacked, rows int) {
	const outs = 2 // groups
	TEXT(fmt.Sprintf("int8Tile%s_%dAVX2", k.name, rows), 0,
		"func(dst *float32, dstStride int, x *byte, step int, w *byte, blocks, add int)")
	Doc(fmt.Sprintf("%d rows of rounded activations times unpacked weights of sixteen outputs, added by 32 columns", rows),
		"in order, to what is in dst if add is not 0.")
	Pragma("noescape")
	local := GP64()
	LEAQ(AllocLocal(2*rows*outs*32+64).Offset(64), local)
	ANDQ(I32(-64), local)
	sumAt := func(r, o int) Mem { return Mem{Base: local, Disp: 32 * (outs*r + o)} }
	dst, ds, x, step, w, n := pointer("dst"), pointer("dstStride"), pointer("x"), pointer("step"), pointer("w"), pointer("blocks")
	each := func(do func(r, o int, at Mem)) {
		to := GP64()
		MOVQ(dst, to)
		for r := range rows {
			for o := range outs {
				do(r, o, Mem{Base: to, Disp: 32 * o})
			}
			if r < rows-1 {
				ADDQ(ds, to)
			}
		}
	}
	zero := avx2.zero()
	for r := range rows {
		for o := range outs {
			VMOVAPS(zero, sumAt(r, o))
		}
	}
	more := pointer("add")
	TESTQ(more, more)
	JEQ(LabelRef("blocks"))
	each(func(r, o int, at Mem) { VMOVUPS(avx2.load(at), sumAt(r, o)) })
	loopStart("blocks")
	minima, factors, codes, bytes := k.places()
	of := func(at, o int) Mem { return Mem{Base: w, Disp: at + 32*o} }
	sums := make([][outs]vec, rows)
	add, wide := VPADDW, k.bits == 8
	if wide {
		add = VPADDD
	}
	for i := range k.vectors() {
		half := i / 4
		if offset := k.offset(); offset > 0 && (i == 0 || k.bits == 6 && i == 4) {
			for r := range rows {
				for o := range outs {
					sums[r][o] = takenOff(row(x, r), offset, half)
				}
			}
		}
		var code [outs]vec
		for o := range outs {
			code[o] = avx2.load(of(codes+i*unpackedPair, o))
		}
		for r := range rows {
			values := YMM()
			at := row(x, r).Offset(roundedCodes + 4*i)
			if wide {
				at = Mem{Base: x, Disp: int8TileRows*roundedBytes + r*wideBytes + 4*i}
			}
			VPBROADCASTD(at, values)
			for o := range outs {
				t := YMM()
				if wide {
					VPMADDWD(values, code[o], t)
				} else {
					VPMADDUBSW(values, code[o], t)
				}
				sums[r][o] = addTo(sums[r][o], t, add)
			}
		}
		if k.bits == 6 && i%4 == 3 {
			for r := range rows {
				for o := range outs {
					v, first := sums[r][o], Mem{Base: local, Disp: 32 * (outs*(rows+r) + o)}
					VPMADDWD(of(factors+half*unpackedPair, o), v, v)
					if half == 0 {
						VMOVDQA(v, first)
					} else {
						VPADDD(first, v, v)
					}
				}
			}
		}
	}
	for r := range rows {
		scale, total := YMM(), YMM()
		VBROADCASTSS(row(x, r).Offset(roundedScale), scale)
		if k.minima {
			VBROADCASTSS(row(x, r).Offset(roundedSum), total)
		}
		for o := range outs {
			v, both := sums[r][o], YMM()
			if k.bits < 6 {
				VPMADDWD(pairsOf(1), v, v)
			}
			VMULPS(of(0, o), scale, both)
			VCVTDQ2PS(v, v)
			VFMADD213PS(sumAt(r, o), both, v)
			if k.minima {
				VFMADD231PS(of(minima, o), total, v)
			}
			VMOVAPS(v, sumAt(r, o))
		}
	}
	ADDQ(I32(int32(bytes)), w)
	ADDQ(step, x)
	DECQ(n)
	JNE(LabelRef("blocks"))
	each(func(r, o int, at Mem) { VMOVUPS(avx2.load(sumAt(r, o)), at) })
	end()
}

// offset is what is taken off the sums of 16 bits.
func (k unpacked) offset() int { return map[int]int{5: 16, 6: 32}[k.bits] }
