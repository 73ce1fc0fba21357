package main

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A stored format as decoders and fused products read it, a block at a time; a
// format that has none is read by 32 values.
type stored struct {
	name          string
	values, bytes int // of a block
	// open reads what the block at m shares, and returns what widens the i-th
	// vector of a part of the block, to be called in order.
	open  func(s isa, m Mem, to scratch) func(i int) vec
	fifth bool // bits of codes lie apart, and AVX2 puts them together in scratch
}

// partValues are widened at a time: a k-quant's block has four parts.
func (f stored) partValues() int { return min(f.values, 64) }

// A scratch is memory on the stack for an opened block: of a k-quant, of which part
// counts the parts in steps of 16, or of codes of five bits.
type scratch struct {
	base, part reg.Register
	disp       int
}

func (t scratch) at(disp int) Mem { return Mem{Base: t.base, Disp: t.disp + disp} }

// inPart addresses what in each part lies 16·scale bytes further on.
func (t scratch) inPart(disp int, scale uint8) Mem {
	return Mem{Base: t.base, Disp: t.disp + disp, Index: t.part, Scale: scale}
}

// begin begins a function with scratch for so many blocks.
func (f stored) begin(s isa, name, signature string, blocks int) []scratch {
	all := make([]scratch, blocks)
	if f.values == 32 && (!f.fifth || s.wide) {
		TEXT(name, NOSPLIT, signature)
		return all
	}
	TEXT(name, 0, signature)
	base, part := GP64(), reg.Register(nil)
	if f.values > 32 {
		part = GP64()
	}
	LEAQ(AllocLocal(blocks*scratchBytes+64).Offset(64), base)
	ANDQ(I32(-64), base)
	for i := range all {
		all[i] = scratch{base, part, i * scratchBytes}
	}
	return all
}

// eachPart runs body for each part of the block that lies open in t.
func (f stored) eachPart(t scratch, body func()) {
	if f.values == 32 {
		body()
		return
	}
	XORQ(t.part, t.part)
	loopStart("part")
	body()
	ADDQ(Imm(16), t.part)
	CMPQ(t.part, Imm(64))
	JNE(LabelRef("part"))
}

var storedFormats = append([]stored{
	{name: "F32", values: 32, bytes: 128, open: func(s isa, m Mem, _ scratch) func(int) vec {
		return func(i int) vec { return s.load(m.Offset(i * s.bytes())) }
	}},
	{name: "F16", values: 32, bytes: 64, open: func(s isa, m Mem, _ scratch) func(int) vec {
		return func(i int) vec {
			v := s.newRegister()
			VCVTPH2PS(m.Offset(i*s.bytes()/2), v)
			return v
		}
	}},
	{name: "BF16", values: 32, bytes: 64, open: func(s isa, m Mem, _ scratch) func(int) vec {
		return func(i int) vec {
			v := s.newRegister()
			VPMOVZXWD(m.Offset(i*s.bytes()/2), v)
			VPSLLD(Imm(16), v, v)
			return v
		}
	}},
	{name: "Q8_0", values: 32, bytes: 34, open: func(s isa, m Mem, _ scratch) func(int) vec {
		d := s.half(m)
		return func(i int) vec {
			v := s.newRegister()
			VPMOVSXBD(m.Offset(2+i*s.lanes), v)
			VCVTDQ2PS(v, v)
			VMULPS(d, v, v)
			return v
		}
	}},
	{name: "Q4_0", values: 32, bytes: 18, open: func(s isa, m Mem, _ scratch) func(int) vec {
		d := s.half(m)
		if s.wide {
			table := s.load(counting(-8))
			VMULPS(d, table, table)
			return s.lookUp(m.Offset(2), table)
		}
		least := s.newRegister()
		VMULPS(constant(-8), d, least)
		return s.nibbles(m.Offset(2), d, least)
	}},
	{name: "Q4_1", values: 32, bytes: 20, open: func(s isa, m Mem, _ scratch) func(int) vec {
		d, least := s.half(m), s.half(m.Offset(2))
		if s.wide {
			table := s.load(counting(0))
			VFMADD213PS(least, d, table)
			return s.lookUp(m.Offset(4), table)
		}
		return s.nibbles(m.Offset(4), d, least)
	}},
	{name: "Q5_0", values: 32, bytes: 22, fifth: true, open: func(s isa, m Mem, to scratch) func(int) vec {
		d, least := s.half(m), s.newRegister()
		VMULPS(constant(-16), d, least)
		return s.fives(m.Offset(2), to, d, least)
	}},
	{name: "Q5_1", values: 32, bytes: 24, fifth: true, open: func(s isa, m Mem, to scratch) func(int) vec {
		d, least := s.half(m), s.half(m.Offset(2))
		return s.fives(m.Offset(4), to, d, least)
	}},
}, storedKQuants...)

// half broadcasts the binary16 value at m.
func (s isa) half(m Mem) vec {
	v := s.newRegister()
	if s.wide {
		y := YMM()
		VPBROADCASTW(m, y)
		VCVTPH2PS(y, v)
		return v
	}
	x := XMM()
	VPBROADCASTW(m, x)
	VCVTPH2PS(x, v)
	return v
}

// lookUp widens 32 codes of four bits at m, the low ones first, by a table.
func (s isa) lookUp(m Mem, table vec) func(i int) vec {
	codes := s.newRegister()
	VPMOVZXBD(m, codes)
	return func(i int) vec {
		v := s.newRegister()
		if i == 1 {
			VPSRLD(Imm(4), codes, codes)
		}
		VPERMPS(table, codes, v) // by the low four bits
		return v
	}
}

// nibbles widens 32 codes of four bits at m, the low ones first, to
// d·q + least: d·q is exact, so one rounding does for both.
func (s isa) nibbles(m Mem, d, least vec) func(i int) vec {
	return func(i int) vec {
		v := s.newRegister()
		VPMOVZXBD(m.Offset(i%2*8), v)
		if i < 2 {
			VPAND(integers(15), v, v)
		} else {
			VPSRLD(Imm(4), v, v)
		}
		VCVTDQ2PS(v, v)
		VFMADD213PS(least, d, v)
		return v
	}
}

// fives is nibbles for codes whose fifth bits, in order, lie at m before the
// others.
func (s isa) fives(m Mem, to scratch, d, least vec) func(i int) vec {
	low := m.Offset(4)
	if s.wide {
		return func(i int) vec {
			v := masked(s, widenBytes(s, low), 4*i, 15)
			k := K()
			KMOVW(m.Offset(2*i), k)
			VPORD(integers(16), v, k, v)
			VCVTDQ2PS(v, v)
			VFMADD213PS(least, d, v)
			return v
		}
	}
	codes, upper, high := YMM(), YMM(), YMM()
	VBROADCASTI128(low, codes)
	VPSRLW(Imm(4), codes, upper)
	VPBLENDD(Imm(0xf0), upper, codes, codes)
	VPAND(bytesOf(15), codes, codes)
	VPBROADCASTD(m, high) // to each byte the one with its bit
	VPSHUFB(word("fifths", func(lane int) uint32 { return uint32(lane%8/2) * 0x01010101 }), high, high)
	bit := word("eachBit", func(lane int) uint32 { return []uint32{0x08040201, 0x80402010}[lane%2] })
	VPAND(bit, high, high)
	VPCMPEQB(bit, high, high)
	VPAND(bytesOf(16), high, high)
	VPOR(high, codes, codes)
	VMOVDQU(codes, to.at(0))
	return func(i int) vec {
		v := s.newRegister()
		VPMOVZXBD(to.at(8*i), v)
		VCVTDQ2PS(v, v)
		VFMADD213PS(least, d, v)
		return v
	}
}

// counting places sixteen consecutive values from first on.
func counting(first int) Mem {
	return word(fmt.Sprintf("counting%d", first+8), func(i int) uint32 { return math.Float32bits(float32(first + i)) })
}

// fusedOuts is the number of outputs that share loads of x.
func (s isa) fusedOuts(rows int) int {
	switch {
	case rows > 4 && s.wide:
		return 2
	case rows > 4:
		return 1
	case rows == 1 || s.wide:
		return 4
	}
	return 3
}

// fusedRows is the most rows that share widened weights.
const fusedRows = 8

// fusedProducts generates the products of few rows, which widen weights into
// registers and do not keep them.
func fusedProducts(s isa) {
	for _, f := range storedFormats {
		for rows := 1; rows <= fusedRows; rows++ {
			fuse(s, f, rows)
		}
	}
}

// ahead is how many bytes before their use weights are asked for.
const ahead = 8192

func fuse(s isa, f stored, rows int) {
	outs := s.fusedOuts(rows)
	opened := f.begin(s, fmt.Sprintf("fused%s_%d%s", f.name, rows, s.suffix),
		"func(dst *float32, dstStride int, x *float32, xStride int, w *byte, cols, block, outs int)", outs)
	Doc(fmt.Sprintf("dot%dx%d of weights widened from %s, for blocks of columns whose sums are added in order.", rows, outs, f.name),
		fmt.Sprintf("cols and block are multiples of %d, outs of %d.", f.values, outs))
	Pragma("noescape")
	dst, x, w, left := pointer("dst"), pointer("x"), pointer("w"), pointer("outs")
	rowBytes, next := pointer("cols"), GP64()
	SHRQ(Imm(uint64(bits.TrailingZeros(uint(f.values)))), rowBytes)
	IMUL3Q(U32(uint32(f.bytes)), rowBytes, rowBytes)
	LEAQ(Mem{Base: w, Disp: ahead}, next)
	xRow, wRow := strided(x, pointer("xStride"), rows), strided(w, rowBytes, outs)

	Label("outputs")
	cols, more := pointer("cols"), GP64()
	XORQ(more, more) // not 0 where a block's sums are added to others
	Label("blocks")
	acc := make([][]vec, rows)
	for r := range acc {
		for range outs {
			acc[r] = append(acc[r], s.zero())
		}
	}
	n := pointer("block")
	CMPQ(cols, n)
	CMOVQLT(cols, n)
	SUBQ(n, cols)
	loopStart("steps")
	parts := f.values / f.partValues()
	fetched := outs * f.bytes / parts
	s.fusedStep(f, xRow, wRow, acc, opened, func() {
		for line := 0; line < fetched; line += 64 {
			PREFETCHT0(Mem{Base: next, Disp: line})
		}
		ADDQ(I32(int32(fetched)), next)
		for _, p := range xRow.bases {
			ADDQ(I32(int32(4*f.partValues())), p)
		}
	})
	if rest := outs*f.bytes - parts*fetched; rest > 0 {
		ADDQ(Imm(uint64(rest)), next)
	}
	for _, p := range wRow.bases {
		ADDQ(I32(int32(f.bytes)), p)
	}
	SUBQ(I32(int32(f.values)), n)
	JNE(LabelRef("steps"))

	ds, to := pointer("dstStride"), GP64()
	MOVQ(dst, to)
	store := func(r int, sum vec) {
		TESTQ(more, more)
		skip := fmt.Sprintf("store%d", r)
		JEQ(LabelRef(skip))
		addFrom(to, outs, sum)
		Label(skip)
		storeTo(to, outs, sum)
		if r < rows-1 {
			ADDQ(ds, to)
		}
	}
	together := max(1, 4/outs) // rows that are folded as one
	for r := 0; r < rows; r += together {
		n := min(together, rows-r)
		sum := s.fold4(slices.Concat(acc[r : r+n]...))
		for i := range n {
			if i > 0 {
				VPSRLDQ(Imm(uint64(4*outs)), sum, sum)
			}
			store(r+i, sum)
		}
	}
	MOVQ(I32(1), more)
	TESTQ(cols, cols)
	JNE(LabelRef("blocks"))
	ADDQ(Imm(uint64(4*outs)), dst)
	// x returns to its start, w goes on to the next rows.
	back := pointer("cols")
	SHLQ(Imm(2), back)
	for _, p := range xRow.bases {
		SUBQ(back, p)
	}
	IMUL3Q(Imm(uint64(outs-1)), rowBytes, back)
	for _, p := range wRow.bases {
		ADDQ(back, p)
	}
	SUBQ(Imm(uint64(outs)), left)
	JG(LabelRef("outputs"))
	end()
}

// fusedStep adds the columns of a block, and calls advance behind each of its
// parts.
func (s isa) fusedStep(f stored, xRow, wRow rowsAt, acc [][]vec, opened []scratch, advance func()) {
	rows, outs, vectors := len(acc), len(acc[0]), f.partValues()/s.lanes
	w := make([]func(int) vec, outs)
	open := func(o int) { w[o] = f.open(s, wRow.at(o), opened[o]) }
	late := !s.wide && f.values == 32 // registers are few, and hold scales
	for o := 0; o < outs && !late; o++ {
		open(o)
	}
	f.eachPart(opened[0], func() {
		if s.wide {
			for i := range vectors {
				v := make([]vec, outs)
				for o := range v {
					v[o] = w[o](i)
				}
				for r := range rows {
					xv := s.load(xRow.at(r).Offset(i * s.bytes()))
					for o := range v {
						VFMADD231PS(xv, v[o], acc[r][o])
					}
				}
			}
		} else {
			for o := range outs {
				if late {
					open(o)
				}
				for i := range vectors {
					v := w[o](i)
					for r := range rows {
						VFMADD231PS(xRow.at(r).Offset(i*s.bytes()), v, acc[r][o])
					}
				}
			}
		}
		advance()
	})
}

// fold4 is fold, which for four registers of AVX-512 halves them side by side.
func (s isa) fold4(v []vec) vec {
	if !s.wide || len(v) != 4 {
		return fold(s, v)
	}
	halve := func(a, b vec, low, high uint64) vec {
		l, h := ZMM(), ZMM()
		VSHUFF32X4(Imm(low), b, a, l)
		VSHUFF32X4(Imm(high), b, a, h)
		VADDPS(h, l, l)
		return l
	}
	x := halve(halve(v[0], v[1], 0x44, 0xee), halve(v[2], v[3], 0x44, 0xee), 0x88, 0xdd)
	for _, swap := range []uint64{0x4e, 0xb1} {
		t := ZMM()
		VPERMILPS(Imm(swap), x, t)
		VADDPS(t, x, x)
	}
	order := s.load(word("firsts", func(i int) uint32 { return uint32(4 * i % 16) }))
	VPERMPS(x, order, x)
	return x.(reg.VecVirtual).AsX().(vec)
}
