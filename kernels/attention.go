package kernels

import (
	"fmt"
	"math"
)

// A Span is the rows [Start, End) of a batch that belong to one sequence.
// Their positions are Position, Position+1, …; Blocks lists the sequence's
// cache blocks from position 0 on.
type Span struct {
	Start, End int
	Position   int
	Blocks     []int32
}

// Attention describes scaled dot-product attention with grouped query heads
// (Ainslie et al., 2023).
type Attention struct {
	Heads   int           // query heads, a multiple of the KV's heads
	Scale   float32       // factor on q·k
	Causal  bool          // a row sees the positions up to its own; else all of its span
	Window  int           // sees only positions nearer than Window to its own; 0: all
	Softcap float32       // scores become cap·tanh(score/cap); 0: none
	Bias    *PositionBias // added to scores; nil: none
}

// Attend sets dst to the attention of the query rows q, [rows, Heads*headDim],
// over the keys and values of each row's span. The keys and values of the rows
// themselves are already in kv. lse, [rows, Heads] or empty, receives each
// row's log-sum-exp of scores, which the backward pass needs.
//
// Keys are walked in blocks counted from position 0 with a running maximum and
// sum (Dao et al., 2022), so neither chunking nor the other rows change a bit.
func (p *Pool) Attend(dst, q Matrix, kv KV, spans []Span, a Attention, lse Matrix) {
	sameShape(dst, q)
	if q.Cols != a.Heads*kv.HeadDim || a.Heads%kv.Heads != 0 {
		panic(fmt.Sprintf("kernels: %s: %d query columns, %d heads of %d, %d key-value heads", badShape, q.Cols, a.Heads, kv.HeadDim, kv.Heads))
	}
	t := &p.tasks.attend
	*t = attendTask{dst: dst, q: q, kv: kv, spans: spans, a: a, lse: lse}
	p.Run(t.split(p.Threads()), t)
}

// The queries of a key-value head that share its keys in a band. Where keys are
// many, reading them is what binds bands of few: 24 reach 53 % of the multiply-adds'
// peak at 4,096 keys of 64 (three queries a head, Zen 3), 120 reach 71 %. Fewer make
// parts for more threads.
const (
	mostQueries  = 120
	leastQueries = 24
)

// split divides the spans into bands of rows, of which each key-value head is a
// part, and returns their number: as large as leaves four parts a thread.
func (t *attendTask) split(threads int) (parts int) {
	group := t.a.Heads / t.kv.Heads
	for queries := mostQueries; ; queries = max(queries/2, leastQueries) {
		t.rows = max(1, queries/group)
		parts = 0
		for _, s := range t.spans {
			parts += t.kv.Heads * t.bands(s)
		}
		if threads == 1 || parts >= 4*threads || queries == leastQueries {
			return parts
		}
	}
}

type attendTask struct {
	dst, q Matrix
	kv     KV
	spans  []Span
	a      Attention
	lse    Matrix
	rows   int // of a span in a part
}

func (t *attendTask) bands(s Span) int { return (s.End - s.Start + t.rows - 1) / t.rows }

// Part attends for one band of a span's rows and one key-value head. A span's
// last band, which sees the most keys, comes first.
func (t *attendTask) Part(w *Worker, part int) {
	head, band := part%t.kv.Heads, part/t.kv.Heads
	for _, s := range t.spans {
		n := t.bands(s)
		if band >= n {
			band -= n
			continue
		}
		start := s.Start + (n-1-band)*t.rows
		end := min(start+t.rows, s.End)
		if v := active.vectors; v != nil {
			t.band(w, v, start, end, head, s)
			return
		}
		for row := start; row < end; row++ {
			t.row(w, row, head, s)
		}
		return
	}
}

// Sees returns the positions [from, to) that a row of a span sees.
func (a *Attention) Sees(row int, s Span) (from, to int) {
	position := s.Position + row - s.Start
	to = position + 1
	if !a.Causal {
		to = s.Position + s.End - s.Start
	}
	if a.Window > 0 {
		from, to = max(0, position+1-a.Window), min(to, position+a.Window)
	}
	return from, to
}

// part is the part [from, to) of block b that a row of a span sees.
func (a *Attention) part(b, row int, s Span) (from, to int) {
	from, to = a.Sees(row, s)
	return max(from-b*BlockLen, 0), min(to-b*BlockLen, BlockLen)
}

func (t *attendTask) row(w *Worker, row, head int, s Span) {
	first, end := t.a.Sees(row, s)
	d := t.kv.HeadDim
	group := t.a.Heads / t.kv.Heads
	mem := w.Scratch(BlockLen + t.kv.wideLen())
	scores, wide := mem[:BlockLen], mem[BlockLen:]
	for h := head * group; h < (head+1)*group; h++ {
		q := t.q.Row(row)[h*d:][:d]
		out := t.dst.Row(row)[h*d:][:d]
		clear(out)
		top, sum := float32(math.Inf(-1)), float32(0)
		for b := first / BlockLen; b*BlockLen < end; b++ {
			from, to := max(first-b*BlockLen, 0), min(end-b*BlockLen, BlockLen)
			keys, values := t.kv.block(s.Blocks[b], head, wide)
			clear(scores)
			for i, x := range q {
				axpy(scores, x, keys[i*BlockLen:][:BlockLen])
			}
			if t.a.Bias != nil {
				t.a.Bias.add(scores, h, s.Position+row-s.Start, b)
			}
			best := top
			for j := from; j < to; j++ {
				scores[j] *= t.a.Scale
				if t.a.Softcap > 0 {
					scores[j] = t.a.Softcap * tanh(scores[j]/t.a.Softcap)
				}
				best = max(best, scores[j])
			}
			if best > top {
				shrink := exp(top - best)
				sum *= shrink
				for i := range out {
					out[i] *= shrink
				}
				top = best
			}
			for j := from; j < to; j++ {
				e := exp(scores[j] - top)
				sum += e
				axpy(out, e, values[j*d:][:d])
			}
		}
		for i := range out {
			out[i] /= sum
		}
		if !t.lse.Empty() {
			t.lse.Row(row)[h] = top + float32(math.Log(float64(sum)))
		}
	}
}
