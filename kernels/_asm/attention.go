package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const blockLen = 32 // positions in a block of the cache

// attention generates, for up to so many queries at once, the three steps of
// attention over one block of keys and values.
func attention(s isa) {
	most := 4
	if s.wide {
		most = 8
	}
	for t := 1; t <= most; t++ {
		scores(s, t)
		values(s, t)
	}
	softmaxBlock(s)
}

func scores(s isa, queries int) {
	TEXT(fmt.Sprintf("scores%d%s", queries, s.suffix), NOSPLIT, "func(dst, q *float32, dims int, k *float32)")
	Doc(fmt.Sprintf("for t := range %d { for j := range 32 { for i := range dims {", queries),
		"\tdst[t][j] += q[t][i] * k[i][j] // fused, from 0",
		"} } }, with dst [][32] and q [][dims].")
	Pragma("noescape")
	dst, stride := pointer("dst"), pointer("dims")
	SHLQ(Imm(2), stride)
	for pass := 0; pass < blockLen; pass += 2 * s.lanes {
		q, k, n := pointer("q"), pointer("k"), pointer("dims")
		rows := strided(q, stride, queries)
		acc := make([][2]vec, queries)
		for t := range acc {
			acc[t] = [2]vec{s.zero(), s.zero()}
		}
		label := fmt.Sprintf("loop%d", pass)
		Label(label)
		a, b := s.load(Mem{Base: k, Disp: 4 * pass}), s.load(Mem{Base: k, Disp: 4*pass + s.bytes()})
		for t := range acc {
			x := s.newRegister()
			VBROADCASTSS(rows.at(t), x)
			VFMADD231PS(a, x, acc[t][0])
			VFMADD231PS(b, x, acc[t][1])
		}
		ADDQ(U32(4*blockLen), k)
		for _, p := range rows.bases {
			ADDQ(Imm(4), p)
		}
		DECQ(n)
		JNE(LabelRef(label))
		for t := range acc {
			VMOVUPS(acc[t][0], Mem{Base: dst, Disp: 4*blockLen*t + 4*pass})
			VMOVUPS(acc[t][1], Mem{Base: dst, Disp: 4*blockLen*t + 4*pass + s.bytes()})
		}
	}
	end()
}

func values(s isa, queries int) {
	TEXT(fmt.Sprintf("values%d%s", queries, s.suffix), NOSPLIT, "func(dst, p, v *float32, dims, from, to int, state *[3]float32)")
	Doc(fmt.Sprintf("for t := range %d { for i := range dims {", queries),
		"\tdst[t][i] *= state[t][2]",
		"\tfor j := from; j < to; j++ { dst[t][i] += p[t][j] * v[j][i] } // fused",
		fmt.Sprintf("} }, with dst [][dims], p [][32] and v [][dims], for dims a multiple of %d.", 2*s.lanes))
	Pragma("noescape")
	dst, state, left := pointer("dst"), pointer("state"), pointer("dims")
	v, stride := pointer("v"), pointer("dims")
	SHLQ(Imm(2), stride)
	start := GP64()
	Load(Param("from"), start)
	IMULQ(stride, start)
	ADDQ(start, v)
	out := strided(dst, stride, queries)
	Label("columns")
	acc := make([][2]vec, queries)
	for t := range acc {
		x := s.newRegister()
		VBROADCASTSS(Mem{Base: state, Disp: 12*t + 8}, x)
		for i := range acc[t] {
			acc[t][i] = s.newRegister()
			VMULPS(out.at(t).Offset(i*s.bytes()), x, acc[t][i])
		}
	}
	p, n, at := pointer("p"), pointer("to"), GP64()
	from := pointer("from")
	LEAQ(Mem{Base: p, Index: from, Scale: 4}, p)
	SUBQ(from, n)
	MOVQ(v, at)
	Label("position")
	a, b := s.load(Mem{Base: at}), s.load(Mem{Base: at, Disp: s.bytes()})
	for t := range acc {
		x := s.newRegister()
		VBROADCASTSS(Mem{Base: p, Disp: 4 * blockLen * t}, x)
		VFMADD231PS(a, x, acc[t][0])
		VFMADD231PS(b, x, acc[t][1])
	}
	ADDQ(stride, at)
	ADDQ(Imm(4), p)
	DECQ(n)
	JNE(LabelRef("position"))
	for t := range acc {
		for i := range acc[t] {
			VMOVUPS(acc[t][i], out.at(t).Offset(i*s.bytes()))
		}
	}
	for _, b := range append(out.bases, v.(reg.GPVirtual)) {
		ADDQ(U32(uint32(2*s.bytes())), b)
	}
	SUBQ(Imm(uint64(2*s.lanes)), left)
	JGT(LabelRef("columns"))
	end()
}

func softmaxBlock(s isa) {
	TEXT("softmaxBlock"+s.suffix, NOSPLIT, "func(p *float32, state *[3]float32, scale float32, from, to, queries int)")
	Doc("for each query, p = p[32:], with state = its top, sum and shrink:",
		"\tbest := max(top, scale * p[j]) for j in [from, to)",
		"\tshrink = exp(top - best); top = best",
		"\tp[j] = exp(scale*p[j] - best), 0 outside [from, to)",
		"\tsum = sum*shrink + Σ p[j], a partial sum for each lane, folded")
	Pragma("noescape")
	p, state, n := pointer("p"), pointer("state"), pointer("queries")
	scale := s.broadcast("scale")
	count := blockLen / s.lanes
	lowest := s.load(constant(float32(math.Inf(-1))))
	from, to := s.newRegister(), s.newRegister()
	spread := func(name string, v vec) {
		g, x := GP64(), XMM()
		Load(Param(name), g)
		VMOVD(g.As32(), x)
		VPBROADCASTD(x, v)
	}
	spread("from", from)
	spread("to", to)
	Label("query")
	v := make([]vec, count)
	best := s.newRegister()
	VBROADCASTSS(Mem{Base: state}, best)
	for i := range v {
		v[i] = s.newRegister()
		VMULPS(Mem{Base: p, Disp: i * s.bytes()}, scale, v[i])
		at := s.load(word(fmt.Sprintf("count%d", i*s.lanes), func(j int) uint32 { return uint32(i*s.lanes + j) }))
		// inside: at < to and not at < from
		if s.wide {
			k, m := K(), K()
			VPCMPD(Imm(1), to, at, k)
			VPCMPD(Imm(5), from, at, m)
			KANDW(m, k, k)
			t := s.newRegister()
			VMOVAPS(lowest, t)
			VMOVAPS(v[i], k, t)
			v[i] = t
		} else {
			in, out := s.newRegister(), s.newRegister()
			VPCMPGTD(at, to, in)
			VPCMPGTD(at, from, out)
			VPANDN(in, out, in)
			VBLENDVPS(in, v[i], lowest, v[i])
		}
		VMAXPS(best, v[i], best)
	}
	VBROADCASTSS(s.foldMax(best), best)
	top := XMM()
	VMOVSS(Mem{Base: state}, top)
	VSUBSS(best.AsX(), top, top)
	shrink := s.newRegister()
	VBROADCASTSS(top, shrink)
	VMOVSS(best.AsX(), Mem{Base: state})
	shrink = s.exp(shrink)
	VMOVSS(shrink.AsX(), Mem{Base: state, Disp: 8})
	total := s.newRegister()
	for i := range v {
		VSUBPS(best, v[i], v[i])
		e := s.exp(v[i])
		VMOVUPS(e, Mem{Base: p, Disp: i * s.bytes()})
		if i == 0 {
			VMOVAPS(e, total)
		} else {
			VADDPS(e, total, total)
		}
	}
	sum := fold(s, []vec{total})
	was := XMM()
	VMOVSS(Mem{Base: state, Disp: 4}, was)
	VFMADD231SS(shrink.AsX(), was, sum)
	VMOVSS(sum, Mem{Base: state, Disp: 4})
	ADDQ(U32(4*blockLen), p)
	ADDQ(Imm(12), state)
	DECQ(n)
	JNE(LabelRef("query"))
	end()
}
