package kernels

// AttendGrad is the gradient of Attend: it adds to dq, [rows, Heads*headDim],
// and to the keys' and values' gradients in dkv, laid out as kv. dy and y are
// the gradient and the result of Attend, lse its log-sum-exp.
//
// Every key sums over its queries in order, so threads never change a bit.
func (p *Pool) AttendGrad(dq Matrix, dkv KV, dy, y, q Matrix, kv KV, spans []Span, a Attention, lse Matrix) {
	sameShape(dq, q)
	sameShape(dy, y)
	t := &attendGradTask{dq, dkv, dy, y, q, kv, spans, a, lse}
	p.Run(len(spans)*kv.Heads, t)
}

type attendGradTask struct {
	dq    Matrix
	dkv   KV
	dy, y Matrix
	q     Matrix
	kv    KV
	spans []Span
	a     Attention
	lse   Matrix
}

// Part handles one key-value head of one span.
func (t *attendGradTask) Part(w *Worker, part int) {
	s, kvHead := t.spans[part/t.kv.Heads], part%t.kv.Heads
	group := t.a.Heads / t.kv.Heads
	if v := active.vectors; v != nil && t.a.Softcap == 0 {
		t.blocks(w, v, s, kvHead)
		return
	}
	for row := s.Start; row < s.End; row++ {
		for h := kvHead * group; h < (kvHead+1)*group; h++ {
			t.row(row, h, kvHead, s)
		}
	}
}

// row adds the gradients of one query row and head:
//
//	p = exp(score-lse), dp = dy·v, ds = p⊙(dp - dy·y)
func (t *attendGradTask) row(row, h, kvHead int, s Span) {
	first, end := t.a.Sees(row, s)
	d := t.kv.HeadDim
	q, dq := t.q.Row(row)[h*d:][:d], t.dq.Row(row)[h*d:][:d]
	dy := t.dy.Row(row)[h*d:][:d]
	delta, lse := Dot(dy, t.y.Row(row)[h*d:][:d]), t.lse.Row(row)[h]
	var scores, ds [BlockLen]float32
	for b := first / BlockLen; b*BlockLen < end; b++ {
		from, to := max(first-b*BlockLen, 0), min(end-b*BlockLen, BlockLen)
		base := t.kv.start(s.Blocks[b]) + kvHead*d*BlockLen
		keys, values := t.kv.K[base:][:d*BlockLen], t.kv.V[base:][:d*BlockLen]
		dkeys, dvalues := t.dkv.K[base:][:d*BlockLen], t.dkv.V[base:][:d*BlockLen]
		clear(scores[:])
		for i, x := range q {
			axpy(scores[:], x, keys[i*BlockLen:][:BlockLen])
		}
		if t.a.Bias != nil {
			t.a.Bias.add(scores[:], h, s.Position+row-s.Start, b)
		}
		for j := from; j < to; j++ {
			score, slope := scores[j]*t.a.Scale, float32(1)
			if t.a.Softcap > 0 {
				c := tanh(score / t.a.Softcap)
				score, slope = t.a.Softcap*c, 1-c*c
			}
			e := exp(score - lse)
			axpy(dvalues[j*d:][:d], e, dy)
			ds[j] = e * (Dot(dy, values[j*d:][:d]) - delta) * slope * t.a.Scale
		}
		for i, x := range q {
			// Beyond to there may be anything.
			dq[i] += Dot(ds[from:to], keys[i*BlockLen:][from:to])
			axpy(dkeys[i*BlockLen:][from:to], x, ds[from:to])
		}
	}
}
