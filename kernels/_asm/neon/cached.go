package main

import "fmt"

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

const (
	cachedQueries = 4 // most that share widened keys and values
	groupLen      = 32
	half16        = 16 // values that are widened together
)

// cachedAttention generates scores and values of what is stored in another format.
func cachedAttention(f *file) {
	for _, c := range cachedFormats {
		for queries := 1; queries <= cachedQueries; queries++ {
			cachedScores(f, c, queries)
			cachedValues(f, c, queries)
		}
	}
}

// widener returns what widens sixteen stored values at a displacement, eight at a time,
// and what is to be done with each four of them; scale scales the i-th four.
func (c cached) widener(f *file) func(base gp, at int, scale func(i int, v vec), use func(i int, v vec)) {
	k := &kernel{file: f}
	var signed func(part int, c, lo, hi vec)
	if c.scaled {
		signed = k.signedCodes("top")
	}
	return func(base gp, at int, scale func(i int, v vec), use func(i int, v vec)) {
		defer f.scope()()
		lo, hi, codes := f.vec(), f.vec(), f.vec()
		if c.scaled {
			f.load(codes, base, at)
		}
		for part := range 2 {
			if c.scaled {
				signed(part, codes, lo, hi)
			} else {
				f.load(hi, base, at+16*part)
				k.halves(lo, hi)
			}
			for i, v := range []vec{lo, hi} {
				if c.scaled {
					scale(2*part+i, v)
				}
				use(2*part+i, v)
			}
		}
	}
}

// cachedScores generates scores of keys as they are stored: sixteen positions after
// sixteen.
func cachedScores(f *file, c cached, queries int) {
	f.function(fmt.Sprintf("scores%s_%d", c.name, queries), "func(dst, q *float32, dims int, k *byte, ahead int)", 0,
		fmt.Sprintf("scores%d of keys in %s, dims being a multiple of 32.", queries, c.name))
	dst, dims, k, ahead := f.argument("dst"), f.argument("dims"), f.argument("k"), f.argument("ahead")
	q := []gp{f.argument("q")}
	for t := range queries - 1 {
		p := f.gp()
		f.i("ADD %s<<2, %s, %s", dims, q[t], p)
		q = append(q, p)
	}
	at, left, count, next := f.gp(), f.gp(), f.gp(), f.gp()
	var scales gp
	if c.scaled {
		scales = f.gp()
	}
	widen := c.widener(f)
	for part := range blockLen / half16 {
		release := f.scope()
		acc := f.zeros(queries, half16/lanes)
		f.i("ADD $%d, %s, %s", part*half16*c.key, k, at)
		f.i("MOVD %s, %s", dims, left)
		if c.scaled { // behind the codes of 32 positions
			f.i("ADD %s<<5, %s, %s", dims, k, scales)
		}
		group := func(name string, fetch func(at gp, n int)) {
			f.label(name)
			d := make([]vec, half16/lanes)
			if c.scaled {
				d = f.vecs(len(d))
				f.load(d[1], scales, 2*half16*part)
				f.load(d[3], scales, 2*half16*part+16)
				for i := 0; i < len(d); i += 2 {
					f.two("fcvtl", d[i], d[i+1])
					f.two("fcvtl2", d[i+1], d[i+1])
				}
				fetch(scales, 2*blockLen)
				f.add(scales, 2*blockLen)
			}
			f.i("MOVD $%d, %s", groupLen/lanes, count)
			f.label(name + "Dimensions")
			const step = lanes // dimensions
			fetch(at, step*blockLen*c.key)
			x := f.vecs(queries)
			for t := range x {
				f.i("FMOVQ.P 16(%s), %s", q[t], x[t].f())
			}
			for dimension := range step {
				widen(at, dimension*blockLen*c.key,
					func(i int, v vec) { f.three("fmul", v, v, d[i]) },
					func(i int, v vec) {
						for t := range acc {
							f.byElement("fmla", acc[t][i], v, x[t], dimension)
						}
					})
			}
			f.add(at, step*blockLen*c.key)
			f.i("SUBS $1, %s, %s", count, count)
			f.i("BNE %s", name+"Dimensions")
			f.i("SUBS $%d, %s, %s", groupLen, left, left)
			f.i("BNE %s", name)
		}
		if name := fmt.Sprintf("group%d", half16*part); part == 0 {
			f.fetching(ahead, next, name, group)
		} else {
			group(name, func(gp, int) {})
		}
		for t := range acc {
			for i := 0; i < len(acc[t]); i += 2 {
				f.storePair(acc[t][i], acc[t][i+1], dst, 4*blockLen*t+4*half16*part+16*i)
			}
		}
		if part == 0 {
			for _, p := range q {
				f.i("SUB %s<<2, %s, %s", dims, p, p)
			}
		}
		release()
	}
	f.finish()
}

// cachedValues generates values as they are stored, for 32 dimensions at a time or for
// sixteen, as there is room for.
func cachedValues(f *file, c cached, queries int) {
	f.function(fmt.Sprintf("values%s_%d", c.name, queries), "func(dst *float32, stride int, p *float32, v *byte, dims, from, to, ahead int)", 0,
		fmt.Sprintf("values%d of values in %s, dims being a multiple of 32.", queries, c.name))
	out := f.strided("dst", "stride", queries)
	v, left, row, start := f.argument("v"), f.argument("dims"), f.gp(), f.argument("from")
	p, n, at, from := f.gp(), f.gp(), f.gp(), f.gp()
	next, ahead := f.gp(), f.argument("ahead")
	f.i("LSR $5, %s, %s", left, row)
	f.i("MOVD $%d, %s", c.group, at)
	f.i("MUL %s, %s, %s", at, row, row)
	f.i("MADD %s, %s, %s, %s", start, v, row, v)
	widen := c.widener(f)
	// columns adds dimensions [first, first+width) of a group.
	columns := func(first, width int) {
		defer f.scope()()
		acc := make([][]vec, queries)
		for t := range acc {
			acc[t] = f.vecs(width / lanes)
			for i := 0; i < len(acc[t]); i += 2 {
				f.loadPair(acc[t][i], acc[t][i+1], out[t], 4*first+16*i)
			}
		}
		f.argumentTo("p", p)
		f.argumentTo("to", n)
		f.argumentTo("from", from)
		f.i("ADD %s<<2, %s, %s", from, p, p)
		f.i("SUB %s, %s, %s", from, n, n)
		f.i("MOVD %s, %s", v, at)
		position := func(name string, fetch func(at gp, n int)) {
			f.label(name)
			fetch(at, c.group)
			x := f.vecs(queries)
			for t := range x {
				f.i("FMOVS %d(%s), %s", 4*blockLen*t, p, x[t].f())
			}
			f.add(p, 4)
			codes, d := 0, vec(-1)
			if c.scaled {
				codes, d = 2, f.vec()
				f.i("FMOVS (%s), %s", at, d.f())
				f.two("fcvtl", d, d)
			}
			for column := 0; column < width; column += half16 {
				widen(at, codes+c.key*(first+column),
					func(_ int, v vec) { f.byElement("fmul", v, v, d, 0) },
					func(i int, v vec) {
						for t := range acc {
							f.byElement("fmla", acc[t][column/lanes+i], v, x[t], 0)
						}
					})
			}
			f.i("ADD %s, %s", row, at)
			f.i("SUBS $1, %s, %s", n, n)
			f.i("BNE %s", name)
		}
		if name := fmt.Sprintf("position%d", first); first == 0 {
			f.fetching(ahead, next, name, position)
		} else {
			position(name, func(gp, int) {})
		}
		for t := range acc {
			for i := 0; i < len(acc[t]); i += 2 {
				f.storePair(acc[t][i], acc[t][i+1], out[t], 4*first+16*i)
			}
		}
	}
	f.label("group")
	if queries <= 2 || queries == 3 && !c.scaled {
		columns(0, groupLen)
	} else {
		columns(0, half16)
		columns(half16, half16)
	}
	for _, r := range out {
		f.add(r, 4*groupLen)
	}
	f.add(v, c.group)
	f.i("SUBS $%d, %s, %s", groupLen, left, left)
	f.i("BNE group")
	f.finish()
}
