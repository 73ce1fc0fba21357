package main

import (
	"fmt"
	"math"
)

const (
	blockLen  = 32 // positions in a block of the cache
	stateLen  = 32 // values of a query's running state
	stateTop  = 16 // among them, after the lanes' sums, the maximum
	topMargin = 8  // by which scores may pass the maximum before it follows
)

// attention generates, for up to three queries at once, the three steps of
// attention over one block of keys and values.
func attention(f *file) {
	for t := 1; t <= 3; t++ {
		scores(f, t)
		values(f, t)
	}
	weights(f)
	weightsGrad(f)
	scaledKeys(f)
}

// fetching generates a loop twice. Unless ahead is 0, the first runs, which asks for the
// lines that lie so many bytes ahead of what it reads: many queries read keys and values
// that are in the cache already.
func (f *file) fetching(ahead, next gp, name string, loop func(name string, fetch func(at gp, n int))) {
	vectors := f.vectors
	f.i("CBZ %s, %s", ahead, name)
	loop(name+"Ahead", func(at gp, n int) {
		f.i("ADD %s, %s, %s", ahead, at, next)
		for line := 0; line < n; line += 64 {
			f.i("PRFM %d(%s), PLDL2KEEP", line, next)
		}
	})
	f.i("B %s", name+"Done")
	f.vectors = vectors
	loop(name, func(gp, int) {})
	f.label(name + "Done")
}

func scores(f *file, queries int) {
	f.function(fmt.Sprintf("scores%d", queries), "func(dst, q *float32, dims int, k *byte, ahead int)", 0,
		fmt.Sprintf("for t := range %d { for j := range 32 { for i := range dims {", queries),
		"\tdst[t][j] += q[t][i] * k[i][j] // fused, from 0",
		"} } }, with dst and k [][32] and q [][dims]. What lies ahead bytes after k is fetched.")
	dst, n, k := f.argument("dst"), f.argument("dims"), f.argument("k")
	q := []gp{f.argument("q")}
	for t := range queries - 1 {
		p := f.gp()
		f.i("ADD %s<<2, %s, %s", n, q[t], p)
		q = append(q, p)
	}
	acc := f.zeros(queries, blockLen/lanes)
	next, ahead := f.gp(), f.argument("ahead")
	f.fetching(ahead, next, "dimension", func(name string, fetch func(gp, int)) {
		f.label(name)
		fetch(k, 4*blockLen)
		x := f.vecs(queries)
		for t := range x {
			f.i("FMOVS.P 4(%s), %s", q[t], x[t].f())
		}
		keys := f.vecs(2)
		for i := range len(acc[0]) / 2 {
			f.i("FLDPQ.P 32(%s), (%s, %s)", k, keys[0].f(), keys[1].f())
			for half := range 2 {
				for t := range acc {
					f.byElement("fmla", acc[t][2*i+half], keys[half], x[t], 0)
				}
			}
		}
		f.i("SUBS $1, %s, %s", n, n)
		f.i("BNE %s", name)
	})
	for t := range acc {
		for i := 0; i < len(acc[t]); i += 2 {
			f.storePair(acc[t][i], acc[t][i+1], dst, 4*blockLen*t+16*i)
		}
	}
	f.finish()
}

func values(f *file, queries int) {
	f.function(fmt.Sprintf("values%d", queries), "func(dst *float32, stride int, p *float32, v *byte, dims, from, to, ahead int)", 0,
		fmt.Sprintf("for t := range %d { for i := range dims { for j := from; j < to; j++ {", queries),
		"\tdst[t][i] += p[t][j] * v[j][i] // fused",
		"} } }, with dst's rows stride bytes apart, p [][32] and v [][dims].",
		"What lies ahead bytes after v is fetched.")
	out := f.strided("dst", "stride", queries)
	v, left, row, start := f.argument("v"), f.argument("dims"), f.gp(), f.argument("from")
	p, n, at, from := f.gp(), f.gp(), f.gp(), f.gp()
	next, ahead := f.gp(), f.argument("ahead")
	f.i("LSL $2, %s, %s", left, row)
	f.i("MADD %s, %s, %s, %s", start, v, row, v)
	for _, columns := range []int{32, 16, 4, 1} {
		release := f.scope()
		label := func(name string) string { return fmt.Sprintf("%s%d", name, columns) }
		f.label(label("columns"))
		f.i("CMP $%d, %s", columns, left)
		f.i("BLT %s", label("past"))
		acc := make([][]vec, queries)
		for t := range acc {
			acc[t] = f.vecs((columns + lanes - 1) / lanes)
			f.loadColumns(acc[t], out[t], columns)
		}
		f.argumentTo("p", p)
		f.argumentTo("to", n)
		f.argumentTo("from", from)
		f.i("ADD %s<<2, %s, %s", from, p, p)
		f.i("SUB %s, %s, %s", from, n, n)
		f.i("MOVD %s, %s", v, at)
		f.fetching(ahead, next, label("position"), func(name string, fetch func(gp, int)) {
			f.label(name)
			fetch(at, 4*columns)
			x := f.vecs(queries)
			for t := range x {
				f.i("FMOVS %d(%s), %s", 4*blockLen*t, p, x[t].f())
			}
			f.add(p, 4)
			value := f.vecs(min(2, len(acc[0])))
			for i := 0; i < len(acc[0]); i += len(value) {
				if columns > lanes {
					f.loadPair(value[0], value[1], at, 16*i)
				} else {
					f.loadColumns(value, at, columns)
				}
				for j := range value {
					for t := range acc {
						f.byElement("fmla", acc[t][i+j], value[j], x[t], 0)
					}
				}
			}
			f.i("ADD %s, %s", row, at)
			f.i("SUBS $1, %s, %s", n, n)
			f.i("BNE %s", name)
		})
		for t := range acc {
			f.storeColumns(acc[t], out[t], columns)
			f.add(out[t], 4*columns)
		}
		f.add(v, 4*columns)
		f.i("SUB $%d, %s, %s", columns, left, left)
		f.i("B %s", label("columns"))
		f.label(label("past"))
		release()
	}
	f.finish()
}

// within are the masks of positions [from, to) of a block.
func (f *file) within() []vec {
	masks := f.vecs(blockLen / lanes)
	defer f.scope()()
	ends := f.vecs(2)
	for i, name := range []string{"from", "to"} {
		r := f.argument(name)
		f.i("VDUP %s, %s.S4", r, ends[i])
	}
	after := f.vec()
	for i, m := range masks {
		f.copyTo(m, words(func(j int) uint32 { return uint32(lanes*i + j) }))
		f.three("cmgt", after, ends[1], m)
		f.three("cmge", m, m, ends[0])
		f.and(m, m, after)
	}
	return masks
}

func weights(f *file) {
	f.function("weights", "func(p, out *float32, stride, dims int, state *float32, scale float32, from, to, queries int)", 0,
		"for each query, with p [][32], out's rows stride bytes apart and state [][32], its lanes' sums and at 16 its top:",
		"\tx := scale*p[j] for j in [from, to), -∞ elsewhere",
		"\tif any x > top + 8 {",
		"\t\tshrink := exp(top - max(x)); sums, out = sums*shrink, out*shrink; top = max(x)",
		"\t}",
		"\tp = exp(x - top)",
		"\tsums[l] += p[l] + p[4+l] + …, those of a lane first")
	p, out, state, n := f.argument("p"), f.argument("out"), f.argument("state"), f.argument("queries")
	stride, dims, column, left := f.argument("stride"), f.argument("dims"), f.gp(), f.gp()
	scale := f.scalar("scale")
	masks := f.within()
	f.hold(belowConstants...)
	top, total := f.vec(), f.vec()
	x := f.vecs(len(masks))

	f.label("query")
	for i := 0; i < len(x); i += 2 {
		f.loadPair(x[i], x[i+1], p, 16*i)
	}
	release := f.scope()
	least := f.copy(all(float32(math.Inf(-1))))
	for i, v := range x {
		f.three("fmul", v, v, scale)
		f.bif(v, least, masks[i])
	}
	best := f.of("fmaxnm", x[0], x[1]) // passes over NaN
	for _, v := range x[2:] {
		f.three("fmaxnm", best, best, v)
	}
	f.two("fmaxnmv", best, best)
	f.i("FMOVS %d(%s), %s", 4*stateTop, state, top.f())
	limit := f.copy(all(topMargin))
	f.three("fadd", limit, limit, top)
	f.i("FCMPS %s, %s", limit.f(), best.f())
	f.i("BLE below")
	f.i("FMOVS %s, %d(%s)", best.f(), 4*stateTop, state)
	f.three("fsub", limit, top, best)
	f.broadcast(limit, limit, 0)
	f.move(top, best)
	f.free(best)
	f.free(least)
	shrink := f.expBelow(limit)
	f.load(total, state, 0)
	f.three("fmul", total, total, shrink)
	f.store(total, state, 0)
	f.i("MOVD %s, %s", out, column)
	f.i("MOVD %s, %s", dims, left)
	f.label("shrink")
	f.load(total, column, 0)
	f.three("fmul", total, total, shrink)
	f.i("FMOVQ.P %s, 16(%s)", total.f(), column)
	f.i("SUBS $%d, %s, %s", lanes, left, left)
	f.i("BGT shrink")
	release()

	f.label("below")
	f.broadcast(top, top, 0)
	for i, v := range x {
		release := f.scope()
		f.three("fsub", v, v, top)
		e := f.expBelow(v)
		f.store(e, p, 16*i)
		if i == 0 {
			f.move(total, e)
		} else {
			f.three("fadd", total, total, e)
		}
		release()
	}
	sums := f.vec()
	f.load(sums, state, 0)
	f.three("fadd", total, total, sums)
	f.store(total, state, 0)
	f.add(p, 4*blockLen)
	f.i("ADD %s, %s", stride, out)
	f.add(state, 4*stateLen)
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE query")
	f.finish()
}

func weightsGrad(f *file) {
	f.function("weightsGrad", "func(p, dp, lse, delta *float32, scale float32, from, to, queries int)", 0,
		"for t := range queries { for j := from; j < to; j++ {",
		"\tp[t][j] = exp(scale*p[t][j] - lse[t])",
		"\tdp[t][j] = p[t][j] * (dp[t][j] - delta[t]) * scale",
		"} }, both 0 outside [from, to), with p and dp [][32].")
	p, dp, lse, delta, n := f.argument("p"), f.argument("dp"), f.argument("lse"), f.argument("delta"), f.argument("queries")
	scale := f.scalar("scale")
	masks := f.within()
	f.hold(belowConstants...)
	less, d, x := f.vec(), f.vec(), f.vec()
	f.label("query")
	f.i("FMOVS.P 4(%s), %s", lse, less.f())
	f.broadcast(less, less, 0)
	f.two("fneg", less, less)
	f.i("FMOVS.P 4(%s), %s", delta, d.f())
	f.broadcast(d, d, 0)
	for i, mask := range masks {
		release := f.scope()
		g := f.vec()
		f.load(g, p, 16*i)
		f.move(x, less)
		f.fmla(x, g, scale)
		e := f.expBelow(x)
		f.load(g, dp, 16*i)
		f.three("fsub", g, g, d)
		f.three("fmul", g, g, scale)
		f.three("fmul", g, g, e)
		f.and(e, e, mask)
		f.and(g, g, mask)
		f.store(e, p, 16*i)
		f.store(g, dp, 16*i)
		release()
	}
	f.add(p, 4*blockLen)
	f.add(dp, 4*blockLen)
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE query")
	f.finish()
}
