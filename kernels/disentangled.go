package kernels

import "math"

// Disentangled is the attention of DeBERTa (He et al., 2021), in which every row of a
// text sees all of it, and content and relative position each attend to the other:
//
//	score(i, j) = (qᵢ·kⱼ + qᵢ·Kₚ[r] + kⱼ·Qₚ[r]) · Scale, r being the distance i-j
type Disentangled struct {
	Heads int
	Scale float32
	// Index are the rows of the distances -reach … reach: those of the keys and queries
	// of positions, counted from the first row that a text has of them.
	Index []int32
}

// at is the row of the distance of a query from a key, after the first.
func (a *Disentangled) at(distance int, first int32) int {
	return int(a.Index[len(a.Index)/2+distance] - first)
}

// Positions are the keys and queries of relative positions, of which each text has
// rows of its own: First is the number in Disentangled.Index of that of the largest
// distance behind, and Start its row here.
type Positions struct {
	K, Q  Matrix // [rows, heads*headDim]; either may be empty: it has no part
	Texts []PositionRows
}

// PositionRows are a text's.
type PositionRows struct {
	Start int
	First int32
}

// Disentangle sets dst to that attention of q over k and v, all [rows,
// heads*headDim], of each text alone.
func (p *Pool) Disentangle(dst, q, k, v Matrix, at Positions, spans []Span, a Disentangled) {
	t := &p.tasks.disentangle
	*t = disentangleTask{dst: dst, q: q, k: k, v: v, at: at, spans: spans, a: a}
	p.Run(len(spans)*a.Heads, t)
}

type disentangleTask struct {
	dst, q, k, v Matrix
	at           Positions
	spans        []Span
	a            Disentangled
}

// headOf is what a head has of a row.
func headOf(m Matrix, row, head, d int) []float32 { return m.Row(row)[head*d:][:d] }

// Part handles one head of one text.
func (t *disentangleTask) Part(w *Worker, part int) {
	n, h := part/t.a.Heads, part%t.a.Heads
	s, d := t.spans[n], t.q.Cols/t.a.Heads
	weights := w.Scratch(s.End - s.Start)
	for i := s.Start; i < s.End; i++ {
		t.weights(weights, i, h, n)
		out := headOf(t.dst, i, h, d)
		clear(out)
		for j, p := range weights {
			AddScaled(out, p, headOf(t.v, s.Start+j, h, d))
		}
	}
}

// weights sets the weights of the keys of text n for the query of a row.
func (t *disentangleTask) weights(weights []float32, row, head, n int) {
	s, rows, d := t.spans[n], t.at.Texts[n], t.q.Cols/t.a.Heads
	q, top := headOf(t.q, row, head, d), float32(math.Inf(-1))
	for j := range weights {
		k := headOf(t.k, s.Start+j, head, d)
		score, r := Dot(q, k), rows.Start+t.a.at(row-s.Start-j, rows.First)
		if !t.at.K.Empty() {
			score += Dot(q, headOf(t.at.K, r, head, d))
		}
		if !t.at.Q.Empty() {
			score += Dot(k, headOf(t.at.Q, r, head, d))
		}
		weights[j] = score * t.a.Scale
		top = max(top, weights[j])
	}
	sum := float32(0)
	for j, score := range weights {
		weights[j] = exp(score - top)
		sum += weights[j]
	}
	for j := range weights {
		weights[j] /= sum
	}
}

// DisentangleGrad adds to the gradients of queries, keys, values and positions, given
// that of Disentangle's dst; those that are empty are not wanted.
func (p *Pool) DisentangleGrad(dq, dk, dv Matrix, dat Positions, dy, q, k, v Matrix, at Positions, spans []Span, a Disentangled) {
	p.Run(a.Heads, &disentangleGradTask{disentangleTask{q: q, k: k, v: v, at: at, spans: spans, a: a}, dq, dk, dv, dat, dy})
}

type disentangleGradTask struct {
	disentangleTask
	dq, dk, dv Matrix
	dat        Positions
	dy         Matrix
}

// Part handles one head: positions sum over the texts in their order.
func (t *disentangleGradTask) Part(w *Worker, h int) {
	d := t.q.Cols / t.a.Heads
	for n, s := range t.spans {
		rows := t.at.Texts[n]
		length := s.End - s.Start
		mem := w.Scratch(2 * length)
		weights, slopes := mem[:length], mem[length:]
		for i := s.Start; i < s.End; i++ {
			t.weights(weights, i, h, n)
			dy, delta := headOf(t.dy, i, h, d), float32(0)
			for j, p := range weights {
				slopes[j] = Dot(dy, headOf(t.v, s.Start+j, h, d))
				delta += p * slopes[j]
			}
			q := headOf(t.q, i, h, d)
			for j, p := range weights {
				row, r := s.Start+j, rows.Start+t.a.at(i-s.Start-j, rows.First)
				ds, k := p*(slopes[j]-delta)*t.a.Scale, headOf(t.k, row, h, d)
				add(t.dv, row, h, d, p, dy)
				add(t.dq, i, h, d, ds, k)
				add(t.dk, row, h, d, ds, q)
				if !t.at.K.Empty() {
					add(t.dq, i, h, d, ds, headOf(t.at.K, r, h, d))
					add(t.dat.K, r, h, d, ds, q)
				}
				if !t.at.Q.Empty() {
					add(t.dk, row, h, d, ds, headOf(t.at.Q, r, h, d))
					add(t.dat.Q, r, h, d, ds, k)
				}
			}
		}
	}
}

// add adds to what a head has of a row, where that is wanted.
func add(m Matrix, row, head, d int, f float32, x []float32) {
	if !m.Empty() {
		AddScaled(headOf(m, row, head, d), f, x)
	}
}
