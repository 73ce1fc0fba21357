package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Many rows read weights that are unpacked, once for all of them: by 32 columns, of two
// groups of outputs, of which each value is two vectors side by side. There are scales,
// minima or the integer scales of sixteen columns where there are some, and then
// codes: a byte each, four of each output in a vector; those that AVX2 multiplies with
// activations of 16 bits have 16, two of each output.
type unpacked struct {
	name   string
	of     []string // formats
	minima bool
	halves bool // a scale for each sixteen columns
	words  bool // codes of 16 bits
	offset int  // of codes in sums; those of some formats get a larger one
}

// unpackedKinds are those of an instruction set, by its suffix.
var unpackedKinds = map[string][]unpacked{
	"AVX2": {
		{name: "Four", of: []string{"Q4_1", "Q4_K"}, minima: true},
		{name: "Five", of: []string{"Q4_0", "Q5_0"}, offset: 16},
		{name: "FiveMin", of: []string{"Q5_1", "Q5_K"}, minima: true, offset: 16},
		{name: "Six", of: []string{"Q6_K"}, halves: true, offset: 32},
		{name: "Eight", of: []string{"Q8_0"}, words: true},
	},
	"AMX": { // codes with their sign
		{name: "Plain", of: []string{"Q4_0", "Q5_0", "Q8_0"}},
		{name: "Min", of: []string{"Q4_1", "Q5_1", "Q4_K", "Q5_K"}, minima: true},
		{name: "Halves", of: []string{"Q6_K"}, halves: true},
	},
}

// kind is that of the unpacked codes.
func (f interleaved) kind() unpacked {
	kinds := unpackedKinds[f.suffix]
	return kinds[slices.IndexFunc(kinds, func(k unpacked) bool { return slices.Contains(k.of, f.name) })]
}

// places are where minima, integer scales and codes begin, and what 32 columns take, of
// vectors of so many bytes.
func (k unpacked) places(vector int) (minima, factors, codes, bytes int) {
	pair := 2 * vector
	minima, factors, codes = pair, pair, pair
	if k.minima {
		codes += pair
	}
	if k.halves {
		codes += 2 * pair
	}
	return minima, factors, codes, codes + k.vectors()*pair
}

// vectors is how many there are of codes.
func (k unpacked) vectors() int {
	if k.words {
		return 16
	}
	return 8
}

func int8Unpack(f interleaved) {
	k := f.kind()
	TEXT("int8Unpack"+f.name+f.suffix, NOSPLIT, "func(dst, w *byte, blocks int)")
	Doc(fmt.Sprintf("dst = blocks of a group of %d outputs, interleaved from %s, as one of two for int8Tile%s.", f.lanes, f.name, k.name))
	Pragma("noescape")
	dst, w, n := pointer("dst"), pointer("w"), pointer("blocks")
	pair := 2 * f.isa.bytes()
	minima, factors, codes, bytes := k.places(f.isa.bytes())
	put := func(v vec, at int) { VMOVUPS(v, Mem{Base: dst, Disp: at}) }
	masks := f.masks(1)
	var more Op
	if k.offset != f.offset && !k.words {
		more = f.load(eachByte(uint32(k.offset-f.offset) & 255))
	}
	head, left := f.begin(w)
	f.prefetch(w)
	codesOf := f.codesAt(w, masks, true)
	for g := range 8 {
		v := codesOf(g)
		if k.words {
			for i := range 2 { // bytes 2i and 2i+1 of each four, to the upper bytes of words
				t := YMM()
				VPSHUFB(word(fmt.Sprintf("int8Widen%d", i), func(lane int) uint32 {
					at := uint32(4*(lane%4) + 2*i)
					return 0x00800080 | at<<8 | (at+1)<<24
				}), v, t)
				VPSRAW(Imm(8), t, t)
				put(t, codes+(2*g+i)*pair)
			}
			continue
		}
		if more != nil {
			VPADDB(more, v, v)
		}
		put(v, codes+g*pair)
	}
	if k.halves {
		for half := range 2 {
			put(f.factor(w, half), factors+half*pair)
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
	s := avx2
	vector := s.bytes()
	TEXT(fmt.Sprintf("int8Tile%s_%d%s", k.name, rows, s.suffix), 0,
		"func(dst *float32, dstStride int, x *byte, step int, w *byte, blocks, add int)")
	Doc(fmt.Sprintf("%d rows of rounded activations times unpacked weights of %d outputs, added by 32 columns", rows, outs*s.lanes),
		"in order, to what is in dst if add is not 0.")
	Pragma("noescape")
	local := GP64()
	LEAQ(AllocLocal(2*rows*outs*vector+64).Offset(64), local)
	ANDQ(I32(-64), local)
	sumAt := func(r, o int) Mem { return Mem{Base: local, Disp: vector * (outs*r + o)} }
	dst, ds, x, step, w, n := pointer("dst"), pointer("dstStride"), pointer("x"), pointer("step"), pointer("w"), pointer("blocks")
	each := func(do func(r, o int, at Mem)) {
		to := GP64()
		MOVQ(dst, to)
		for r := range rows {
			for o := range outs {
				do(r, o, Mem{Base: to, Disp: vector * o})
			}
			if r < rows-1 {
				ADDQ(ds, to)
			}
		}
	}
	each(func(_, o int, at Mem) { // rows of the result are pages apart
		if o*vector%64 == 0 {
			PREFETCHT0(at)
		}
	})
	zero := s.zero()
	for r := range rows {
		for o := range outs {
			VMOVAPS(zero, sumAt(r, o))
		}
	}
	more := pointer("add")
	TESTQ(more, more)
	JEQ(LabelRef("blocks"))
	each(func(r, o int, at Mem) { VMOVUPS(s.load(at), sumAt(r, o)) })
	loopStart("blocks")
	minima, factors, codes, bytes := k.places(vector)
	of := func(at, o int) Mem { return Mem{Base: w, Disp: at + vector*o} }
	sums := make([][outs]vec, rows)
	add := VPADDW
	if k.words {
		add = VPADDD
	}
	for i := range k.vectors() {
		half := i / 4
		if i == 0 || k.halves && i == 4 {
			for r := range rows {
				for o := range outs {
					sums[r][o] = takenOff(row(x, r), k.offset, half)
				}
			}
		}
		var code [outs]vec
		for o := range outs {
			code[o] = s.load(of(codes+2*vector*i, o))
		}
		for r := range rows {
			values := s.newRegister()
			at := row(x, r).Offset(roundedCodes + 4*i)
			if k.words {
				at = Mem{Base: x, Disp: int8TileRows*roundedBytes + r*wideBytes + 4*i}
			}
			VPBROADCASTD(at, values)
			for o := range outs {
				t := YMM()
				if k.words {
					VPMADDWD(values, code[o], t)
				} else {
					VPMADDUBSW(values, code[o], t)
				}
				sums[r][o] = addTo(sums[r][o], t, add)
			}
		}
		if k.halves && i%4 == 3 {
			for r := range rows {
				for o := range outs {
					v, factor, first := sums[r][o], of(factors+2*vector*half, o), Mem{Base: local, Disp: vector * (outs*(rows+r) + o)}
					VPMADDWD(factor, v, v)
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
		scale, total := s.newRegister(), s.newRegister()
		VBROADCASTSS(row(x, r).Offset(roundedScale), scale)
		if k.minima {
			VBROADCASTSS(row(x, r).Offset(roundedSum), total)
		}
		for o := range outs {
			v, both := sums[r][o], s.newRegister()
			if !k.words && !k.halves {
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
	each(func(r, o int, at Mem) { VMOVUPS(s.load(sumAt(r, o)), at) })
	end()
}
