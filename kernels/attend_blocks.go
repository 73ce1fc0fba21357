package kernels

// blocks is the gradient of attention for one key-value head of a span, a
// block of keys and values at a time:
//
//	p = exp(score-lse), ds = p⊙(dy·vᵀ - dy·y)
//	dv += pᵀ·dy, dk += dsᵀ·q, dq += ds·k
//
// Keys and values sum over the queries in order, queries over the keys.
func (t *attendGradTask) blocks(w *Worker, v *vectors, s Span, head int) {
	d := t.kv.HeadDim
	group := t.a.Heads / t.kv.Heads
	rows := s.End - s.Start
	n := rows * group
	mem := w.Scratch(n*(3*d+2) + 2*gradQueries(group)*BlockLen + 2*BlockLen*d)
	take := func(n int) []float32 {
		part := mem[:n]
		mem = mem[n:]
		return part
	}
	b := attendBlocks{
		attendGradTask: t, v: v, s: s, head: head * group, group: group, dims: d,
		q: take(n * d), dy: take(n * d), dqs: take(n * d), lses: take(n), delta: take(n),
		p: take(gradQueries(group) * BlockLen), ds: take(gradQueries(group) * BlockLen),
		keys: take(BlockLen * d), values: take(BlockLen * d),
	}
	last := 0
	for r := range rows {
		at := s.Start + r
		copy(b.q[r*group*d:], t.q.Row(at)[head*group*d:][:group*d])
		copy(b.dy[r*group*d:], t.dy.Row(at)[head*group*d:][:group*d])
		copy(b.lses[r*group:], t.lse.Row(at)[head*group:][:group])
		for g := range group {
			b.delta[r*group+g] = Dot(b.dy[(r*group+g)*d:][:d], t.y.Row(at)[(head*group+g)*d:][:d])
		}
		_, to := t.a.Sees(at, s)
		last = max(last, to)
	}
	clear(b.dqs)
	for i := range (last + BlockLen - 1) / BlockLen {
		b.block(i, t.kv.start(s.Blocks[i])+head*d*BlockLen)
	}
	for r := range rows {
		Add(t.dq.Row(s.Start + r)[head*group*d:][:group*d], b.dqs[r*group*d:])
	}
}

// gradQueries is the number of queries in a tile of whole rows.
func gradQueries(group int) int { return max(1, 48/group) * group }

// attendBlocks is what a span's gradient of one key-value head has in hand:
// the head's queries, [rows][group], and the block transposed.
type attendBlocks struct {
	*attendGradTask
	v            *vectors
	s            Span
	head         int // the first query head
	group, dims  int
	q, dy, dqs   []float32 // [queries][dims]
	lses, delta  []float32 // [queries]
	p, ds        []float32 // [queries of a tile][BlockLen]
	keys, values []float32 // [BlockLen][dims], [dims][BlockLen]
}

// block handles block i of the span, which lies at base.
func (b *attendBlocks) block(i, base int) {
	d := b.dims
	k, v := b.kv.K[base:][:d*BlockLen], b.kv.V[base:][:d*BlockLen]
	transpose(b.keys, k, d, BlockLen)
	transpose(b.values, v, BlockLen, d)
	dk, dv := &b.dkv.K[base], &b.dkv.V[base]
	scores := b.v.scores[F32]
	most := len(scores) - 1
	step := gradQueries(b.group) / b.group
	for r := b.s.Start; r < b.s.End; {
		end := r
		first, last, whole := BlockLen, 0, true
		for ; end < min(r+step, b.s.End); end++ {
			from, to := b.a.part(i, end, b.s)
			if from >= to {
				break
			}
			first, last = min(first, from), max(last, to)
			whole = whole && from == 0 && to == BlockLen
		}
		if end == r {
			r++
			continue
		}
		q := (r - b.s.Start) * b.group
		n := (end - r) * b.group
		for j := 0; j < n; j += most {
			m := min(most, n-j)
			scores[m](&b.p[j*BlockLen], &b.q[(q+j)*d], d, bytePtr(&k[0]), 0)
			scores[m](&b.ds[j*BlockLen], &b.dy[(q+j)*d], d, bytePtr(&b.values[0]), 0)
		}
		if bias := b.a.Bias; bias != nil {
			for j := range n {
				bias.add(b.p[j*BlockLen:], b.head+j%b.group, b.s.Position+r-b.s.Start+j/b.group, i)
			}
		}
		if whole {
			b.v.weightsGrad(&b.p[0], &b.ds[0], &b.lses[q], &b.delta[q], b.a.Scale, 0, BlockLen, n)
		} else {
			for row := r; row < end; row++ {
				from, to := b.a.part(i, row, b.s)
				j := (row - r) * b.group
				b.v.weightsGrad(&b.p[j*BlockLen], &b.ds[j*BlockLen], &b.lses[q+j], &b.delta[q+j], b.a.Scale, from, to, b.group)
			}
		}
		b.v.product(dv, 4*d, BlockLen, d, &b.p[0], 4, 4*BlockLen, &b.dy[q*d], 4*d, n)
		b.v.product(dk, 4*BlockLen, d, BlockLen, &b.q[q*d], 4, 4*d, &b.ds[0], 4*BlockLen, n)
		b.v.product(&b.dqs[q*d], 4*d, n, d, &b.ds[first], 4*BlockLen, 4, &b.keys[first*d], 4*d, last-first)
		r = end
	}
}

// transpose sets dst, [cols][rows], to the transpose of src, [rows][cols].
func transpose(dst, src []float32, rows, cols int) {
	for r := range rows {
		for c, x := range src[r*cols:][:cols] {
			dst[c*rows+r] = x
		}
	}
}
