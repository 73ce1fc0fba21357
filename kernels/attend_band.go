package kernels

import "math"

// A query's running state in attention: a sum for each of up to 16 lanes and
// then the maximum it is relative to.
const (
	stateLen = 32
	stateTop = 16
)

// band attends for rows [start, end) of a span and one key-value head: every
// block of keys and values is read once for all of the head's queries, in
// tiles of queries that see the same part of the block. A query's own order of
// operations is that of a tile of one.
func (t *attendTask) band(w *Worker, v *vectors, start, end, head int, s Span) {
	d := t.kv.HeadDim
	group := t.a.Heads / t.kv.Heads
	queries := (end - start) * group
	stride := (d + 15) &^ 15
	mem := w.Scratch(queries*(stateLen+BlockLen+stride+d) + t.kv.wideLen())
	b := attendBand{attendTask: t, v: v, stride: stride, state: mem[:queries*stateLen], head: head * group, group: group, position: s.Position + start - s.Start}
	mem = mem[queries*stateLen:]
	b.scores, mem = mem[:queries*BlockLen], mem[queries*BlockLen:]
	b.out, mem = mem[:queries*stride], mem[queries*stride:]
	b.q, mem = mem[:queries*d], mem[queries*d:]

	clear(b.state)
	clear(b.out)
	for i := range queries {
		b.state[i*stateLen+stateTop] = float32(math.Inf(-1))
	}
	first, last := math.MaxInt, 0 // of the positions that any row sees
	for r := start; r < end; r++ {
		copy(b.q[(r-start)*group*d:][:group*d], t.q.Row(r)[head*group*d:])
		from, to := t.a.Sees(r, s)
		first, last = min(first, from), max(last, to)
	}
	b.blockBytes = t.kv.BlockBytes()
	if b.inRegisters(queries) {
		b.format = t.kv.Format
	}
	for n := first / BlockLen; n*BlockLen < last; n++ {
		b.open(n, s.Blocks[n:(last+BlockLen-1)/BlockLen], mem)
		for r := start; r < end; {
			from, to := t.a.part(n, r, s)
			next := r + 1
			for ; next < end; next++ {
				if f, e := t.a.part(n, next, s); f != from || e != to {
					break
				}
			}
			if from < to {
				b.block((r-start)*group, (next-r)*group, from, to)
			}
			r = next
		}
	}
	for i := range queries {
		row, h := start+i/group, head*group+i%group
		sum := sumLanes(b.state[i*stateLen:][:stateTop])
		v.quotient(&t.dst.Row(row)[h*d], &b.out[i*stride], sum, d)
		if !t.lse.Empty() {
			t.lse.Row(row)[h] = b.state[i*stateLen+stateTop] + float32(math.Log(float64(sum)))
		}
	}
}

// attendBand is what the queries of a band have in hand.
type attendBand struct {
	*attendTask
	v            *vectors
	stride       int
	head, group  int       // the first query head, and how many share the keys
	position     int       // of the first row
	n            int       // the block at hand
	q            []float32 // [queries][headDim]
	scores       []float32 // [queries][BlockLen]
	out          []float32 // [queries][stride]
	state        []float32 // [queries][stateLen]
	blockBytes   int       // of keys, as of values, of all heads
	format       Format    // of keys and values as they are multiplied
	keys, values *byte
	ahead        int // bytes from them to the next block's, to be fetched; 0: none
}

// inRegisters reports whether keys and values are read as they are stored and widened in
// registers, anew for each tile: that is faster for few queries. Many multiply with a
// block that is widened once.
func (b *attendBand) inRegisters(queries int) bool {
	most := len(b.v.scores[b.kv.Format]) - 1
	return b.kv.Format != F32 && b.kv.HeadDim%32 == 0 && queries <= 2*most
}

// open puts block n of the span at hand, the first of those still to come.
func (b *attendBand) open(n int, blocks []int32, wide []float32) {
	kv, kvHead := &b.kv, b.head/b.group
	b.n, b.ahead = n, 0
	if b.format != kv.Format {
		keys, values := kv.block(blocks[0], kvHead, wide)
		b.keys, b.values = bytePtr(&keys[0]), bytePtr(&values[0])
		return
	}
	page := kv.page(blocks[0])
	if at := page*b.blockBytes + b.blockBytes/kv.Heads*kvHead; b.format == F32 {
		b.keys, b.values = bytePtr(&kv.K[at/4]), bytePtr(&kv.V[at/4])
	} else {
		b.keys, b.values = &kv.Stored[at], &kv.Stored[len(kv.Stored)/2+at]
	}
	if len(blocks) > 1 {
		b.ahead = (kv.page(blocks[1]) - page) * b.blockBytes
	}
}

// block adds positions [from, to) of the block at hand to n queries.
func (b *attendBand) block(query, n, from, to int) {
	d, ahead := b.kv.HeadDim, b.ahead
	for i := query; i < query+n; {
		k := b.tile(query + n - i)
		b.v.scores[b.format][k](&b.scores[i*BlockLen], &b.q[i*d], d, b.keys, ahead)
		i, ahead = i+k, 0
	}
	if bias := b.a.Bias; bias != nil {
		for i := query; i < query+n; i++ {
			bias.add(b.scores[i*BlockLen:], b.head+i%b.group, b.position+i/b.group, b.n)
		}
	}
	scale := b.a.Scale
	if b.a.Softcap > 0 {
		b.soften(b.scores[query*BlockLen:][:n*BlockLen])
		scale = 1
	}
	b.v.weights(&b.scores[query*BlockLen], &b.out[query*b.stride], 4*b.stride, d, &b.state[query*stateLen], scale, from, to, n)
	for i := query; i < query+n; {
		k := b.tile(query + n - i)
		b.v.values[b.format][k](&b.out[i*b.stride], 4*b.stride, &b.scores[i*BlockLen], b.values, d, from, to, b.ahead)
		i, b.ahead = i+k, 0
	}
}

// tile is how many of n queries the next tile takes: all tiles nearly as many, since
// one of a single query waits for its sums.
func (b *attendBand) tile(n int) int {
	most := len(b.v.scores[b.format]) - 1
	tiles := (n + most - 1) / most
	return (n + tiles - 1) / tiles
}

// soften applies the scale and the soft cap to scores.
func (b *attendBand) soften(scores []float32) {
	x, n := &scores[0], len(scores)
	b.v.scale(x, x, b.a.Scale/b.a.Softcap, n)
	b.v.apply[Tanh](x, x, n)
	b.v.scale(x, x, b.a.Softcap, n)
}

// sumLanes sums sixteen values, i with i+8, i+4, i+2, i+1 in this order.
func sumLanes(s []float32) float32 {
	var t [8]float32
	for i := range t {
		t[i] = s[i] + s[i+8]
	}
	return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]))
}
