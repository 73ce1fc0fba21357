package kernels

import "math"

// rows attends for rows [start, end) of a span and one key-value head: every
// block of keys and values is read once for all of the head's queries, in
// tiles of queries that see the same part of the block. A query's own order of
// operations is that of a tile of one.
func (t *attendTask) rows(w *Worker, v *vectors, start, end, head int, s Span) {
	d := t.kv.HeadDim
	group := t.a.Heads / t.kv.Heads
	queries := (end - start) * group
	mem := w.Scratch(queries * (2*d + BlockLen + 3))
	q, out := mem[:queries*d], mem[queries*d:][:queries*d]
	scores, state := mem[2*queries*d:][:queries*BlockLen], stateOf(mem[queries*(2*d+BlockLen):])

	first, last := math.MaxInt, 0
	for r := start; r < end; r++ {
		copy(q[(r-start)*group*d:][:group*d], t.q.Row(r)[head*group*d:])
		from, to := t.sees(r, s)
		first, last = min(first, from), max(last, to)
	}
	clear(out)
	for i := range queries {
		state[i] = [3]float32{float32(math.Inf(-1)), 0, 0}
	}
	for b := first / BlockLen; b*BlockLen < last; b++ {
		base := int(s.Blocks[b])*t.kv.BlockSize() + head*d*BlockLen
		keys, values := &t.kv.K[base], &t.kv.V[base]
		for r := start; r < end; {
			from, to := t.within(b, r, s)
			next := r + 1
			for next < end {
				if f, o := t.within(b, next, s); f != from || o != to {
					break
				}
				next++
			}
			if from < to {
				i, n := (r-start)*group, (next-r)*group
				for n > 0 {
					k := min(n, len(v.scores)-1)
					v.scores[k](&scores[i*BlockLen], &q[i*d], d, keys)
					scale := t.a.Scale
					if t.a.Softcap > 0 {
						t.soften(scores[i*BlockLen:][:k*BlockLen])
						scale = 1
					}
					v.softmax(&scores[i*BlockLen], &state[i], scale, from, to, k)
					v.values[k](&out[i*d], &scores[i*BlockLen], values, d, from, to, &state[i])
					i, n = i+k, n-k
				}
			}
			r = next
		}
	}
	for r := start; r < end; r++ {
		for g := range group {
			i := (r-start)*group + g
			dst, sum := t.dst.Row(r)[(head*group+g)*d:][:d], state[i][1]
			for j, x := range out[i*d:][:d] {
				dst[j] = x / sum
			}
			if !t.lse.Empty() {
				t.lse.Row(r)[head*group+g] = state[i][0] + float32(math.Log(float64(sum)))
			}
		}
	}
}

// within returns the part [from, to) of block b that a row sees.
func (t *attendTask) within(b, row int, s Span) (from, to int) {
	from, to = t.sees(row, s)
	return max(from-b*BlockLen, 0), min(to-b*BlockLen, BlockLen)
}

// soften applies the scale and the soft cap to scores.
func (t *attendTask) soften(scores []float32) {
	for i, x := range scores {
		scores[i] = t.a.Softcap * tanh(x*t.a.Scale/t.a.Softcap)
	}
}
