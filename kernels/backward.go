package kernels

import "math"

// gradTask runs the backward pass of a row-wise primitive.
type gradTask struct {
	op         gradOp
	step       int
	n          int
	dx, dy, x  Matrix
	dz, z      Matrix
	weight     []float32
	dw, db     []float32
	mean, rstd []float32
	eps        float32
	offset     float32
	act        Activation
	rope       *Rope
	positions  []int32
}

type gradOp uint8

const (
	opRMSNormGrad gradOp = iota
	opLayerNormGrad
	opNormWeightGrad
	opGateGrad
	opActivateGrad
	opColumnSums
	opColumnProducts
	opRopeGrad
)

func (t *gradTask) Part(w *Worker, part int) {
	from := part * t.step
	to := min(from+t.step, t.n)
	weight := withOffset(w, t.weight, t.offset)
	switch t.op {
	case opNormWeightGrad:
		normWeightGrad(t.dw, t.dy, t.x, t.mean, t.rstd, from, to)
		return
	case opColumnSums:
		for r := range t.dy.Rows {
			Add(t.db[from:to], t.dy.Row(r)[from:to])
		}
		return
	case opColumnProducts:
		for r := range t.dy.Rows {
			u, v := t.dy.Row(r)[from:to], t.x.Row(r)[from:to]
			for i, s := range t.db[from:to] {
				t.db[from+i] = s + u[i]*v[i]
			}
		}
		return
	}
	for r := from; r < to; r++ {
		switch t.op {
		case opRMSNormGrad:
			t.rstd[r] = rmsNormGrad(t.dx, r, t.dy.Row(r), t.x.Row(r), weight, t.eps)
		case opLayerNormGrad:
			t.mean[r], t.rstd[r] = layerNormGrad(t.dx, r, t.dy.Row(r), t.x.Row(r), t.weight, t.eps)
		case opGateGrad:
			gateGrad(w, t.dx.Row(r), t.dz.Row(r), t.dy.Row(r), t.x.Row(r), t.z.Row(r), t.act)
		case opActivateGrad:
			t.act.Derivative(t.z.Row(r), t.x.Row(r))
			Mul(t.z.Row(r), t.dy.Row(r))
			Add(t.dx.Row(r), t.z.Row(r))
		case opRopeGrad:
			t.rope.Undo(t.dy.Row(r), int(t.positions[r]))
			Add(t.dx.Row(r), t.dy.Row(r))
		}
	}
}

func (p *Pool) overGrad(n, size int, t gradTask) {
	t.n = n
	t.step = max(1, min(n, 16384/max(size, 1)))
	p.Run((n+t.step-1)/t.step, &t)
}

// overColumns splits columns, over which each part walks the rows in order, as
// wide as the threads allow.
func (p *Pool) overColumns(n int, t gradTask) {
	t.n = n
	t.step = max(64, (n/(2*p.Threads())+63)&^63)
	p.Run((n+t.step-1)/t.step, &t)
}

// NormGrad is the gradient of RMSNorm (rms) or LayerNorm: it adds to dx, and
// to dw and db where they are not empty. dx may be empty. rows holds two
// scratch values a row. offset is RMSNorm's.
func (p *Pool) NormGrad(dx, dy, x Matrix, weight []float32, offset, eps float32, rms bool, dw, db, rows []float32) {
	sameShape(dy, x)
	op := opLayerNormGrad
	if rms {
		op = opRMSNormGrad
	}
	mean, rstd := rows[:x.Rows], rows[x.Rows:2*x.Rows]
	clear(mean)
	p.overGrad(x.Rows, x.Cols, gradTask{op: op, dx: dx, dy: dy, x: x, weight: weight, offset: offset, eps: eps, mean: mean, rstd: rstd})
	if len(dw) > 0 {
		p.overColumns(x.Cols, gradTask{op: opNormWeightGrad, dw: dw, dy: dy, x: x, mean: mean, rstd: rstd})
	}
	if len(db) > 0 {
		p.ColumnSums(db, dy)
	}
}

// GateGrad is the gradient of Gate: it adds to dgate and dup.
func (p *Pool) GateGrad(dgate, dup, dy, gate, up Matrix, act Activation) {
	sameShape(dy, gate)
	sameShape(dy, up)
	p.overGrad(dy.Rows, dy.Cols, gradTask{op: opGateGrad, dx: dgate, dz: dup, dy: dy, x: gate, z: up, act: act})
}

// ActivateGrad is the gradient of Activate: it adds dy ⊙ act′(x) to dx.
// scratch has dy's shape.
func (p *Pool) ActivateGrad(dx, dy, x, scratch Matrix, act Activation) {
	sameShape(dy, x)
	p.overGrad(dy.Rows, dy.Cols, gradTask{op: opActivateGrad, dx: dx, dy: dy, x: x, z: scratch, act: act})
}

// RopeGrad is the gradient of Rope: it adds to dx and overwrites dy.
func (p *Pool) RopeGrad(dx, dy Matrix, rope *Rope, positions []int32) {
	sameShape(dx, dy)
	p.overGrad(dy.Rows, dy.Cols, gradTask{op: opRopeGrad, dx: dx, dy: dy, rope: rope, positions: positions})
}

// ColumnSums adds the sum of dy's rows to db: the gradient of a bias. Rows are
// summed in order.
func (p *Pool) ColumnSums(db []float32, dy Matrix) {
	p.overColumns(dy.Cols, gradTask{op: opColumnSums, db: db, dy: dy})
}

// ColumnProducts adds Σ_r a_rj·b_rj to sums_j: the gradient of a factor on each
// column. Rows are summed in order.
func (p *Pool) ColumnProducts(sums []float32, a, b Matrix) {
	sameShape(a, b)
	p.overColumns(len(sums), gradTask{op: opColumnProducts, db: sums, dy: a, x: b})
}

// AddQuotients adds a_j/b_j to dst_j where b_j is not 0, and lists where it is.
func (p *Pool) AddQuotients(dst, a, b []float32) (zeros []int) {
	for j, v := range b {
		if v == 0 {
			zeros = append(zeros, j)
			continue
		}
		dst[j] += a[j] / v
	}
	return zeros
}

// rmsNormGrad adds to row r of dx and returns 1/rms(x).
//
//	dx = s·(w⊙dy) - x·s³/n·Σ(w⊙dy⊙x),  s = 1/√(mean(x²)+eps)
func rmsNormGrad(dx Matrix, r int, dy, x, weight []float32, eps float32) float32 {
	n := float64(len(x))
	s := 1 / math.Sqrt(float64(Dot(x, x))/n+float64(eps))
	if dx.Empty() {
		return float32(s)
	}
	if v := active.vectors; v != nil {
		b := float64(v.dot3(&weight[0], &dy[0], &x[0], 0, len(x))) * s / n
		v.normGrad(&dx.Row(r)[0], &dy[0], &x[0], &weight[0], 0, float32(s), 0, float32(b), len(x))
		return float32(s)
	}
	var sum float64
	for i, g := range dy {
		sum += float64(weight[i] * g * x[i])
	}
	k, scale := float32(sum*s*s*s/n), float32(s)
	row := dx.Row(r)
	for i, g := range dy {
		row[i] += weight[i]*g*scale - x[i]*k
	}
	return scale
}

// layerNormGrad adds to row r of dx and returns mean(x) and 1/σ(x).
func layerNormGrad(dx Matrix, r int, dy, x, weight []float32, eps float32) (mean, rstd float32) {
	n := float64(len(x))
	if v := active.vectors; v != nil {
		mean = float32(float64(v.sum(&x[0], len(x))) / n)
		s := 1 / math.Sqrt(float64(v.spread(&x[0], mean, len(x)))/n+float64(eps))
		if !dx.Empty() {
			a := v.dot(&weight[0], &dy[0], len(x)) / float32(n)
			b := float64(v.dot3(&weight[0], &dy[0], &x[0], mean, len(x))) * s / n
			v.normGrad(&dx.Row(r)[0], &dy[0], &x[0], &weight[0], mean, float32(s), a, float32(b), len(x))
		}
		return mean, float32(s)
	}
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	m := sum / n
	var squares float64
	for _, v := range x {
		squares += (float64(v) - m) * (float64(v) - m)
	}
	s := 1 / math.Sqrt(squares/n+float64(eps))
	if dx.Empty() {
		return float32(m), float32(s)
	}
	var g, gx float64
	for i, d := range dy {
		wd := float64(weight[i] * d)
		g += wd
		gx += wd * (float64(x[i]) - m) * s
	}
	row := dx.Row(r)
	for i, d := range dy {
		hat := (float64(x[i]) - m) * s
		row[i] += float32((float64(weight[i]*d) - g/n - hat*gx/n) * s)
	}
	return float32(m), float32(s)
}

func normWeightGrad(dw []float32, dy, x Matrix, mean, rstd []float32, from, to int) {
	for r := range dy.Rows {
		g, v := dy.Row(r), x.Row(r)
		if k := active.vectors; k != nil {
			k.normWeightGrad(&dw[from], &g[from], &v[from], mean[r], rstd[r], to-from)
			continue
		}
		for i := from; i < to; i++ {
			dw[i] += g[i] * ((v[i] - mean[r]) * rstd[r])
		}
	}
}

func gateGrad(w *Worker, dgate, dup, dy, gate, up []float32, act Activation) {
	f := w.Scratch(len(dy))
	act.Apply(f, gate)
	mulAdd(dup, dy, f)
	act.Derivative(f, gate)
	Mul(f, up)
	mulAdd(dgate, dy, f)
}
