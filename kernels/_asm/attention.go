package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	blockLen  = 32 // positions in a block of the cache
	stateLen  = 32 // values of a query's running state
	stateTop  = 16 // among them, after the lanes' sums, the maximum
	topMargin = 8  // by which scores may pass the maximum before it follows
)

// attention generates, for up to so many queries at once, the three steps of
// attention over one block of keys and values.
func attention(s isa) {
	most := 3
	if s.wide {
		most = 6
	}
	for t := 1; t <= most; t++ {
		scores(s, t)
		values(s, t)
	}
	for _, f := range cachedFormats {
		for t := 1; t <= f.most(s); t++ {
			cachedScores(s, f, t)
			cachedValues(s, f, t)
		}
	}
	weights(s)
	weightsGrad(s)
	scaledKeys(s)
}

// fetching generates a loop twice. Unless ahead is 0, the first runs, which asks for the
// lines that lie so many bytes ahead of what it reads: many queries read keys and values
// that are in the cache already.
func fetching(ahead reg.Register, name string, loop func(name string, fetch func(p reg.Register, n int))) {
	TESTQ(ahead, ahead)
	JEQ(LabelRef(name))
	loop(name+"Ahead", func(p reg.Register, n int) { linesAhead(p, ahead, n) })
	JMP(LabelRef(name + "Done"))
	loop(name, func(reg.Register, int) {})
	Label(name + "Done")
}

// linesAhead asks for n bytes that lie so many ahead of p. They go to the second-level
// cache: the first has fewer requests under way at once.
func linesAhead(p, ahead reg.Register, n int) {
	for line := 0; line < n; line += 64 {
		PREFETCHT1(Mem{Base: p, Index: ahead, Scale: 1, Disp: line})
	}
}

func scores(s isa, queries int) {
	TEXT(fmt.Sprintf("scores%d%s", queries, s.suffix), NOSPLIT, "func(dst, q *float32, dims int, k *byte, ahead int)")
	Doc(fmt.Sprintf("for t := range %d { for j := range 32 { for i := range dims {", queries),
		"\tdst[t][j] += q[t][i] * k[i][j] // fused, from 0",
		"} } }, with dst and k [][32] and q [][dims]. What lies ahead bytes after k is fetched.")
	Pragma("noescape")
	dst, q, k, n, ahead, stride := pointer("dst"), pointer("q"), pointer("k"), pointer("dims"), pointer("ahead"), GP64()
	MOVQ(n, stride)
	SHLQ(Imm(2), stride)
	rows := strided(q, stride, queries)
	acc := make([][]vec, queries)
	for t := range acc {
		acc[t] = make([]vec, blockLen/s.lanes)
		for i := range acc[t] {
			acc[t][i] = s.zero()
		}
	}
	fetching(ahead, "dimension", func(name string, fetch func(reg.Register, int)) {
		loopStart(name)
		fetch(k, 4*blockLen)
		x := make([]vec, queries)
		for t := range x {
			x[t] = s.newRegister()
			VBROADCASTSS(rows.at(t), x[t])
		}
		for i := range acc[0] {
			keys := s.load(Mem{Base: k, Disp: i * s.bytes()})
			for t := range acc {
				VFMADD231PS(keys, x[t], acc[t][i])
			}
		}
		ADDQ(U32(4*blockLen), k)
		for _, p := range rows.bases {
			ADDQ(Imm(4), p)
		}
		DECQ(n)
		JNE(LabelRef(name))
	})
	for t := range acc {
		for i := range acc[t] {
			VMOVUPS(acc[t][i], Mem{Base: dst, Disp: 4*blockLen*t + i*s.bytes()})
		}
	}
	end()
}

func values(s isa, queries int) {
	TEXT(fmt.Sprintf("values%d%s", queries, s.suffix), NOSPLIT, "func(dst *float32, stride int, p *float32, v *byte, dims, from, to, ahead int)")
	Doc(fmt.Sprintf("for t := range %d { for i := range dims { for j := from; j < to; j++ {", queries),
		"\tdst[t][i] += p[t][j] * v[j][i] // fused",
		"} } }, with dst's rows stride bytes apart and padded to whole registers, p [][32] and v [][dims].",
		"What lies ahead bytes after v is fetched.")
	Pragma("noescape")
	dst, stride, ahead := pointer("dst"), pointer("stride"), pointer("ahead")
	v, left, row := pointer("v"), pointer("dims"), GP64()
	MOVQ(left, row)
	SHLQ(Imm(2), row)
	start := pointer("from")
	IMULQ(row, start)
	ADDQ(start, v)
	out := strided(dst, stride, queries)
	widths := []int{4, 1}
	if s.wide {
		widths = []int{4, 2, 1}
	}
	for _, width := range widths {
		label := func(name string) string { return fmt.Sprintf("%s%d", name, width) }
		Label(label("columns"))
		load := func(m Mem) vec { return s.load(m) }
		if width > 1 {
			CMPQ(left, Imm(uint64(width*s.lanes)))
			JLT(LabelRef(label("past")))
		} else {
			TESTQ(left, left)
			JLE(LabelRef(label("past")))
			load = lane{s: s, mask: s.first(left)}.at
		}
		acc := make([][]vec, queries)
		for t := range acc {
			acc[t] = make([]vec, width)
			for i := range acc[t] {
				acc[t][i] = s.load(out.at(t).Offset(i * s.bytes()))
			}
		}
		p, n, from, at := pointer("p"), pointer("to"), pointer("from"), GP64()
		LEAQ(Mem{Base: p, Index: from, Scale: 4}, p)
		SUBQ(from, n)
		MOVQ(v, at)
		fetching(ahead, label("position"), func(name string, fetch func(reg.Register, int)) {
			loopStart(name)
			fetch(at, width*s.bytes())
			x := make([]vec, queries)
			for t := range x {
				x[t] = s.newRegister()
				VBROADCASTSS(Mem{Base: p, Disp: 4 * blockLen * t}, x[t])
			}
			for i := range width {
				value := load(Mem{Base: at, Disp: i * s.bytes()})
				for t := range acc {
					VFMADD231PS(value, x[t], acc[t][i])
				}
			}
			ADDQ(row, at)
			ADDQ(Imm(4), p)
			DECQ(n)
			JNE(LabelRef(name))
		})
		for t := range acc {
			for i := range acc[t] {
				VMOVUPS(acc[t][i], out.at(t).Offset(i*s.bytes()))
			}
		}
		for _, b := range append(out.bases, v.(reg.GPVirtual)) {
			ADDQ(U32(uint32(width*s.bytes())), b)
		}
		SUBQ(Imm(uint64(width*s.lanes)), left)
		JMP(LabelRef(label("columns")))
		Label(label("past"))
	}
	end()
}

// first is the mask of the first n lanes, at most all.
func (s isa) first(n reg.Register) reg.Register {
	if s.wide {
		one, k := GP64(), K()
		MOVQ(I32(-1), one)
		BZHIQ(n, one, one)
		KMOVW(one.As32(), k)
		return k
	}
	c, p, mask := GP64(), GP64(), YMM()
	MOVQ(U32(8), c)
	CMPQ(n, c)
	CMOVQLT(n, c)
	NEGQ(c)
	LEAQ(tailMask(), p)
	VMOVUPS(Mem{Base: p, Index: c, Scale: 4, Disp: 32}, mask)
	return mask
}

// within are the masks of positions [from, to) of a block.
func (s isa) within() []reg.Register {
	var masks []reg.Register
	from, to := pointer("from"), pointer("to")
	if s.wide {
		one := GP64()
		MOVQ(I32(-1), one)
		BZHIQ(from, one, from)
		BZHIQ(to, one, to)
		XORQ(from, to)
		for range blockLen / s.lanes {
			k := K()
			KMOVW(to.(reg.GPVirtual).As32(), k)
			SHRQ(Imm(16), to)
			masks = append(masks, k)
		}
		return masks
	}
	spread := func(g reg.Register) vec {
		x, v := XMM(), s.newRegister()
		VMOVD(g.(reg.GPVirtual).As32(), x)
		VPBROADCASTD(x, v)
		return v
	}
	f, t := spread(from), spread(to)
	for i := 0; i < blockLen; i += s.lanes {
		at := s.load(word(fmt.Sprintf("count%d", i), func(j int) uint32 { return uint32(i + j) }))
		in := s.newRegister()
		VPCMPGTD(at, t, in) // to > at
		VPCMPGTD(at, f, at) // from > at
		VPANDN(in, at, in)
		masks = append(masks, in)
	}
	return masks
}

func weights(s isa) {
	TEXT("weights"+s.suffix, NOSPLIT, "func(p, out *float32, stride, dims int, state *float32, scale float32, from, to, queries int)")
	Doc("for each query, with p [][32], out's rows stride bytes apart and state [][32], its lanes' sums and at 16 its top:",
		"\tx := scale*p[j] for j in [from, to), -∞ elsewhere",
		"\tif any x > top + 8 {",
		"\t\tshrink := exp(top - max(x)); sums, out = sums*shrink, out*shrink; top = max(x)",
		"\t}",
		"\tp = exp(x - top)",
		fmt.Sprintf("\tsums[l] += p[l] + p[%d+l] + …, those of a lane first", s.lanes))
	Pragma("noescape")
	p, out, state, n := pointer("p"), pointer("out"), pointer("state"), pointer("queries")
	stride := pointer("stride")
	scale := s.broadcast("scale")
	masks := s.within()
	s.hold(float32(math.Inf(-1)), topMargin)
	s.hold(expConstants...)
	Label("query")
	v := make([]vec, len(masks))
	for i := range v {
		m := Mem{Base: p, Disp: i * s.bytes()}
		v[i] = s.copy(float32(math.Inf(-1)))
		if s.wide {
			VMULPS(m, scale, masks[i], v[i])
		} else {
			x := s.newRegister()
			VMULPS(m, scale, x)
			VBLENDVPS(masks[i], x, v[i], v[i])
		}
	}
	top, limit := s.newRegister(), s.newRegister()
	VBROADCASTSS(Mem{Base: state, Disp: 4 * stateTop}, top)
	VADDPS(s.constant(topMargin), top, limit)
	if s.wide {
		a, b := K(), K()
		VCMPPS(Imm(30), limit, v[0], a)
		VCMPPS(Imm(30), limit, v[1], b)
		KORTESTW(a, b)
	} else {
		any := s.newRegister()
		for i := range v {
			x := any
			if i > 0 {
				x = s.newRegister()
			}
			VCMPPS(Imm(30), limit, v[i], x)
			if i > 0 {
				VORPS(x, any, any)
			}
		}
		VTESTPS(any, any)
	}
	JEQ(LabelRef("below"))

	best := s.newRegister()
	VMAXPS(v[0], v[1], best)
	for _, x := range v[2:] {
		VMAXPS(x, best, best)
	}
	VBROADCASTSS(s.foldMax(best), best)
	VMOVSS(best.AsX(), Mem{Base: state, Disp: 4 * stateTop})
	VSUBPS(best, top, top)
	shrink := s.expBelow(top)
	sums := s.newRegister()
	VMULPS(Mem{Base: state}, shrink, sums)
	VMOVUPS(sums, Mem{Base: state})
	column, left := GP64(), pointer("dims")
	MOVQ(out, column)
	Label("shrink")
	x := s.newRegister()
	VMULPS(Mem{Base: column}, shrink, x)
	VMOVUPS(x, Mem{Base: column})
	ADDQ(Imm(uint64(s.bytes())), column)
	SUBQ(Imm(uint64(s.lanes)), left)
	JGT(LabelRef("shrink"))
	VBROADCASTSS(Mem{Base: state, Disp: 4 * stateTop}, top)

	Label("below")
	var total vec
	for i := range v {
		VSUBPS(top, v[i], v[i])
		e := s.expBelow(v[i])
		VMOVUPS(e, Mem{Base: p, Disp: i * s.bytes()})
		if i == 0 {
			total = e
		} else {
			VADDPS(e, total, total)
		}
	}
	VADDPS(Mem{Base: state}, total, total)
	VMOVUPS(total, Mem{Base: state})
	ADDQ(U32(4*blockLen), p)
	ADDQ(stride, out)
	ADDQ(U32(4*stateLen), state)
	DECQ(n)
	JNE(LabelRef("query"))
	s.release()
	end()
}

func weightsGrad(s isa) {
	TEXT("weightsGrad"+s.suffix, NOSPLIT, "func(p, dp, lse, delta *float32, scale float32, from, to, queries int)")
	Doc("for t := range queries { for j := from; j < to; j++ {",
		"\tp[t][j] = exp(scale*p[t][j] - lse[t])",
		"\tdp[t][j] = p[t][j] * (dp[t][j] - delta[t]) * scale",
		"} }, both 0 outside [from, to), with p and dp [][32].")
	Pragma("noescape")
	p, dp, lse, delta, n := pointer("p"), pointer("dp"), pointer("lse"), pointer("delta"), pointer("queries")
	scale := s.broadcast("scale")
	masks := s.within()
	s.hold(expConstants...)
	Label("query")
	l, d := s.newRegister(), s.newRegister()
	VBROADCASTSS(Mem{Base: lse}, l)
	VBROADCASTSS(Mem{Base: delta}, d)
	for i, mask := range masks {
		at := func(p reg.Register) Mem { return Mem{Base: p, Disp: i * s.bytes()} }
		x := s.load(at(p))
		VFMSUB213PS(l, scale, x)
		e := s.expBelow(x)
		g := s.load(at(dp))
		VSUBPS(d, g, g)
		VMULPS(scale, g, g)
		VMULPS(e, g, g)
		if s.wide {
			VMOVAPS_Z(e, mask, e)
			VMOVAPS_Z(g, mask, g)
		} else {
			VANDPS(mask, e, e)
			VANDPS(mask, g, g)
		}
		VMOVUPS(e, at(p))
		VMOVUPS(g, at(dp))
	}
	ADDQ(U32(4*blockLen), p)
	ADDQ(U32(4*blockLen), dp)
	ADDQ(Imm(4), lse)
	ADDQ(Imm(4), delta)
	DECQ(n)
	JNE(LabelRef("query"))
	s.release()
	end()
}
