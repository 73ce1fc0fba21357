package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A stored format as the fused products read it: a step is 32 values of a row.
type stored struct {
	name  string
	bytes int // of a step
	// open reads what the step at m shares, and returns what widens its i-th
	// vector, to be called in order.
	open func(s isa, m Mem) func(i int) vec
}

var storedFormats = []stored{
	{"F32", 128, func(s isa, m Mem) func(int) vec {
		return func(i int) vec { return s.load(m.Offset(i * s.bytes())) }
	}},
	{"F16", 64, func(s isa, m Mem) func(int) vec {
		return func(i int) vec {
			v := s.newRegister()
			VCVTPH2PS(m.Offset(i*s.bytes()/2), v)
			return v
		}
	}},
	{"BF16", 64, func(s isa, m Mem) func(int) vec {
		return func(i int) vec {
			v := s.newRegister()
			VPMOVZXWD(m.Offset(i*s.bytes()/2), v)
			VPSLLD(Imm(16), v, v)
			return v
		}
	}},
	{"Q8_0", 34, func(s isa, m Mem) func(int) vec {
		d := s.half(m)
		return func(i int) vec {
			v := s.newRegister()
			VPMOVSXBD(m.Offset(2+i*s.lanes), v)
			VCVTDQ2PS(v, v)
			VMULPS(d, v, v)
			return v
		}
	}},
	{"Q4_0", 18, func(s isa, m Mem) func(int) vec {
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
	{"Q4_1", 20, func(s isa, m Mem) func(int) vec {
		d, least := s.half(m), s.half(m.Offset(2))
		if s.wide {
			table := s.load(counting(0))
			VFMADD213PS(least, d, table)
			return s.lookUp(m.Offset(4), table)
		}
		return s.nibbles(m.Offset(4), d, least)
	}},
}

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

// counting places sixteen consecutive values from first on.
func counting(first int) Mem {
	return word(fmt.Sprintf("counting%d", first+8), func(i int) uint32 { return math.Float32bits(float32(first + i)) })
}

// fusedOuts is the number of outputs that share loads of x.
func (s isa) fusedOuts(rows int) int {
	if s.wide || rows == 1 {
		return 4
	}
	return 3
}

const fusedRows = 4

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
	TEXT(fmt.Sprintf("fused%s_%d%s", f.name, rows, s.suffix), NOSPLIT,
		"func(dst *float32, dstStride int, x *float32, xStride int, w *byte, cols, block, outs int)")
	Doc(fmt.Sprintf("dot%dx%d of weights widened from %s, for blocks of columns whose sums are added in order.", rows, outs, f.name),
		fmt.Sprintf("cols and block are multiples of 32, outs of %d.", outs))
	Pragma("noescape")
	dst, x, w, left := pointer("dst"), pointer("x"), pointer("w"), pointer("outs")
	rowBytes, next := pointer("cols"), GP64()
	SHRQ(Imm(5), rowBytes)
	IMUL3Q(Imm(uint64(f.bytes)), rowBytes, rowBytes)
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
	Label("steps")
	s.fusedStep(f, xRow, wRow, acc)
	for line := 0; line < outs*f.bytes; line += 64 {
		PREFETCHT0(Mem{Base: next, Disp: line})
	}
	ADDQ(I32(int32(outs*f.bytes)), next)
	for _, p := range xRow.bases {
		ADDQ(I32(128), p)
	}
	for _, p := range wRow.bases {
		ADDQ(I32(int32(f.bytes)), p)
	}
	SUBQ(Imm(32), n)
	JNE(LabelRef("steps"))

	ds, to := pointer("dstStride"), GP64()
	MOVQ(dst, to)
	for r := range rows {
		sum := s.fold4(acc[r])
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

// fusedStep adds 32 columns.
func (s isa) fusedStep(f stored, xRow, wRow rowsAt, acc [][]vec) {
	rows, outs, vectors := len(acc), len(acc[0]), 32/s.lanes
	if s.wide {
		w := make([]func(int) vec, outs)
		for o := range w {
			w[o] = f.open(s, wRow.at(o))
		}
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
		return
	}
	for o := range outs {
		w := f.open(s, wRow.at(o))
		for i := range vectors {
			v := w(i)
			for r := range rows {
				VFMADD231PS(xRow.at(r).Offset(i*s.bytes()), v, acc[r][o])
			}
		}
	}
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
