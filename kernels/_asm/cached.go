package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A cached format is one that keys and values are stored in beside F32. Blocks of
// heads of whole groups of 32 dimensions are widened into registers as they are
// multiplied, for few queries, and not kept.
type cached struct {
	name   string
	scaled bool // a key of a group has a scale, and so has a value
	key    int  // bytes of a key's dimension
	group  int  // bytes of 32 dimensions of a value
}

var cachedFormats = []cached{{name: "F16", key: 2, group: 64}, {name: "Q8_0", scaled: true, key: 1, group: 34}}

const groupLen = 32

// most is the largest number of queries that registers have room for the sums of.
func (f cached) most(s isa) int {
	if s.wide {
		return 8
	}
	return 7
}

// registers is the number of vector registers.
func (s isa) registers() int {
	if s.wide {
		return 32
	}
	return 16
}

// widen widens a vector of values, scaled by d.
func (f cached) widen(s isa, m Mem, d Op) vec {
	v := s.newRegister()
	if !f.scaled {
		VCVTPH2PS(m, v)
		return v
	}
	VPMOVSXBD(m, v)
	VCVTDQ2PS(v, v)
	VMULPS(d, v, v)
	return v
}

// accumulate adds to sums [query][vector] the products of vectors, which widen makes,
// with a factor of each query: all vectors are at hand where there is room for them
// beside so many other registers, else one after the other.
func accumulate(s isa, sums [][]vec, others int, widen func(i int) vec, factor func(t int) Mem) {
	width := len(sums[0])
	step := width
	if len(sums)*width+others+width+1 > s.registers() {
		step = 1
	}
	for first := 0; first < width; first += step {
		v := make([]vec, step)
		for i := range v {
			v[i] = widen(first + i)
		}
		for t := range sums {
			x := s.newRegister()
			VBROADCASTSS(factor(t), x)
			for i := range v {
				VFMADD231PS(v[i], x, sums[t][first+i])
			}
		}
	}
}

// cachedScores generates scores of keys as they are stored: 32 positions at once with
// AVX-512, else sixteen after sixteen.
func cachedScores(s isa, f cached, queries int) {
	const width = 2
	crowded := f.scaled && width*queries+width+2 > s.registers() // scales are in memory
	TEXT(fmt.Sprintf("scores%s_%d%s", f.name, queries, s.suffix), NOSPLIT, "func(dst, q *float32, dims int, k *byte, ahead int)")
	Doc(fmt.Sprintf("scores%d of keys in %s, dims being a multiple of 32.", queries, f.name))
	Pragma("noescape")
	dst, q, k, ahead, stride := pointer("dst"), pointer("q"), pointer("k"), pointer("ahead"), GP64()
	MOVQ(pointer("dims"), stride)
	var scales reg.Register
	if f.scaled {
		scales = GP64()
		MOVQ(stride, scales)
		SHLQ(Imm(5), scales) // codes of 32 positions
		ADDQ(k, scales)
	}
	SHLQ(Imm(2), stride)
	rows := strided(q, stride, queries)
	var kept Mem
	if crowded {
		kept = AllocLocal(width * s.bytes())
	}
	at, left, n := GP64(), GP64(), GP64()
	for part := 0; part < blockLen; part += width * s.lanes {
		label := func(name string) string { return fmt.Sprintf("%s%d", name, part) }
		sums := make([][]vec, queries)
		for t := range sums {
			sums[t] = []vec{s.zero(), s.zero()}
		}
		LEAQ(Mem{Base: k, Disp: part * f.key}, at)
		MOVQ(stride, left)
		Label(label("group"))
		MOVQ(U32(groupLen), n)
		var d [width]Op
		if f.scaled {
			for i := range d {
				v := s.newRegister()
				VCVTPH2PS(Mem{Base: scales, Disp: 2 * (part + i*s.lanes)}, v)
				d[i] = v
				if crowded {
					VMOVUPS(v, kept.Offset(i*s.bytes()))
					d[i] = kept.Offset(i * s.bytes())
				}
			}
			if part == 0 {
				linesAhead(scales, ahead, 2*blockLen)
			}
			ADDQ(Imm(2*blockLen), scales)
		}
		loopStart(label("dimension"))
		others := 0
		if f.scaled && !crowded {
			others = width
		}
		if part == 0 {
			linesAhead(at, ahead, blockLen*f.key)
		}
		accumulate(s, sums, others, func(i int) vec {
			return f.widen(s, Mem{Base: at, Disp: i * s.lanes * f.key}, d[i])
		}, rows.at)
		ADDQ(Imm(uint64(blockLen*f.key)), at)
		for _, p := range rows.bases {
			ADDQ(Imm(4), p)
		}
		DECQ(n)
		JNE(LabelRef(label("dimension")))
		SUBQ(U32(4*groupLen), left)
		JNE(LabelRef(label("group")))
		for t := range sums {
			for i := range sums[t] {
				VMOVUPS(sums[t][i], Mem{Base: dst, Disp: 4*blockLen*t + 4*part + i*s.bytes()})
			}
		}
		if part+width*s.lanes == blockLen {
			break
		}
		for _, p := range rows.bases {
			SUBQ(stride, p)
		}
		if f.scaled { // back by 64 bytes for each 32 dimensions
			MOVQ(stride, left)
			SHRQ(Imm(1), left)
			SUBQ(left, scales)
		}
	}
	end()
}

// cachedValues generates values as they are stored, for 64 dimensions at a time, 32 or
// sixteen, as there is room for.
func cachedValues(s isa, f cached, queries int) {
	TEXT(fmt.Sprintf("values%s_%d%s", f.name, queries, s.suffix), NOSPLIT, "func(dst *float32, stride int, p *float32, v *byte, dims, from, to, ahead int)")
	Doc(fmt.Sprintf("values%d of values in %s, dims being a multiple of 32.", queries, f.name))
	Pragma("noescape")
	dst, stride, ahead := pointer("dst"), pointer("stride"), pointer("ahead")
	v, left, row := pointer("v"), pointer("dims"), GP64()
	MOVQ(left, row)
	if f.scaled {
		SHRQ(Imm(5), row)
		IMUL3Q(Imm(uint64(f.group)), row, row)
	} else {
		SHLQ(Imm(1), row)
	}
	start := pointer("from")
	IMULQ(row, start)
	ADDQ(start, v)
	out := strided(dst, stride, queries)
	p, n, at := GP64(), GP64(), GP64()
	// columns adds width vectors of dimensions from first on.
	columns := func(name string, first, width int) {
		sums := make([][]vec, queries)
		place := func(t, i int) Mem { return out.at(t).Offset(4*first + i*s.bytes()) }
		for t := range sums {
			for i := range width {
				sums[t] = append(sums[t], s.load(place(t, i)))
			}
		}
		from := pointer("from")
		Load(Param("p"), p)
		Load(Param("to"), n)
		LEAQ(Mem{Base: p, Index: from, Scale: 4}, p)
		SUBQ(from, n)
		MOVQ(v, at)
		loopStart(name)
		groups := max(1, width*s.lanes/groupLen)
		if first == 0 {
			linesAhead(at, ahead, groups*f.group)
		}
		d, others := make([]vec, groups), 0
		scale := func(g int) { d[g] = s.scale(Mem{Base: at, Disp: f.group * g}) }
		crowded := queries*width+3 > s.registers() // no room for a scale that lasts
		if f.scaled && !crowded {
			others = groups
			for g := range d {
				scale(g)
			}
		}
		accumulate(s, sums, others, func(i int) vec {
			column := first + i*s.lanes
			g, c := column/groupLen, column%groupLen
			if f.scaled {
				if crowded {
					scale(g)
				}
				return f.widen(s, Mem{Base: at, Disp: f.group*g + 2 + c}, d[g])
			}
			return f.widen(s, Mem{Base: at, Disp: f.group*g + 2*c}, nil)
		}, func(t int) Mem { return Mem{Base: p, Disp: 4 * blockLen * t} })
		ADDQ(row, at)
		ADDQ(Imm(4), p)
		DECQ(n)
		JNE(LabelRef(name))
		for t := range sums {
			for i := range sums[t] {
				VMOVUPS(sums[t][i], place(t, i))
			}
		}
	}
	advance := func(groups int) {
		for _, b := range out.bases {
			ADDQ(U32(uint32(4*groupLen*groups)), b)
		}
		ADDQ(U32(uint32(f.group*groups)), v)
	}
	if s.wide && queries <= 3 {
		Label("pair")
		CMPQ(left, Imm(2*groupLen))
		JLT(LabelRef("last"))
		columns("positions64", 0, 4)
		advance(2)
		SUBQ(Imm(2*groupLen), left)
		JMP(LabelRef("pair"))
		Label("last")
		TESTQ(left, left)
		JEQ(LabelRef("done"))
	}
	Label("group")
	switch {
	case s.wide:
		columns("positions32", 0, 2)
	case queries <= 3:
		columns("positions32", 0, 4)
	default:
		columns("positions0", 0, 2)
		columns("positions16", 16, 2)
	}
	advance(1)
	SUBQ(Imm(groupLen), left)
	JNE(LabelRef("group"))
	Label("done")
	end()
}

// scale broadcasts the binary16 value at m, beside which lie six more bytes or more.
func (s isa) scale(m Mem) vec {
	x, v := XMM(), s.newRegister()
	VCVTPH2PS(m, x)
	VBROADCASTSS(x, v)
	return v
}
