package kernels

import "math"

// rowsTask runs a row-wise primitive over bands of rows.
type rowsTask struct {
	op     rowOp
	step   int
	rows   int
	a, b   Matrix
	c      Matrix
	u, v   []float32
	offset float32 // on u
	f      float32
	pos    []int32
	rope   *Rope
	act    Activation
}

type rowOp uint8

const (
	opRMSNorm rowOp = iota
	opLayerNorm
	opRope
	opGated
	opAdd
	opAddScaled
	opAddProduct
	opBias
	opScaleColumns
	opActivate
)

func (t *rowsTask) Part(w *Worker, part int) {
	from := part * t.step
	to := min(from+t.step, t.rows)
	weight := withOffset(w, t.u, t.offset)
	for r := from; r < to; r++ {
		switch t.op {
		case opRMSNorm:
			RMSNorm(t.a.Row(r), t.b.Row(r), weight, t.f)
		case opLayerNorm:
			LayerNorm(t.a.Row(r), t.b.Row(r), t.u, t.v, t.f)
		case opRope:
			t.rope.Apply(t.a.Row(r), int(t.pos[r]))
		case opGated:
			t.act.Gate(t.a.Row(r), t.b.Row(r), t.c.Row(r))
		case opAdd:
			Add(t.a.Row(r), t.b.Row(r))
		case opAddScaled:
			AddScaled(t.a.Row(r), t.f, t.b.Row(r))
		case opAddProduct:
			addProduct(t.a.Row(r), t.b.Row(r), t.u, t.f)
		case opBias:
			Add(t.a.Row(r), t.u)
		case opScaleColumns:
			Mul(t.a.Row(r), t.u)
		case opActivate:
			t.act.Apply(t.a.Row(r), t.b.Row(r))
		}
	}
}

func (p *Pool) overRows(rows, cols int, t rowsTask) {
	t.rows = rows
	t.step = max(1, min(rows, 16384/max(cols, 1)))
	p.tasks.rows = t
	p.Run((rows+t.step-1)/t.step, &p.tasks.rows)
}

// RMSNorm sets each row of dst to (offset+weight) ⊙ x/√(mean(x²)+eps) (Zhang and
// Sennrich, 2019). dst may be x.
func (p *Pool) RMSNorm(dst, x Matrix, weight []float32, offset, eps float32) {
	sameShape(dst, x)
	p.overRows(x.Rows, x.Cols, rowsTask{op: opRMSNorm, a: dst, b: x, u: weight, f: eps, offset: offset})
}

// withOffset returns weight with c added to each value, in w's scratch unless c is 0.
func withOffset(w *Worker, weight []float32, c float32) []float32 {
	if c == 0 {
		return weight
	}
	sum := w.Scratch(len(weight))
	for i, v := range weight {
		sum[i] = c + v
	}
	return sum
}

// LayerNorm sets each row of dst to weight ⊙ (x-mean)/√(var+eps) + bias (Ba et
// al., 2016). An empty bias counts as zero. dst may be x.
func (p *Pool) LayerNorm(dst, x Matrix, weight, bias []float32, eps float32) {
	sameShape(dst, x)
	p.overRows(x.Rows, x.Cols, rowsTask{op: opLayerNorm, a: dst, b: x, u: weight, v: bias, f: eps})
}

// Rope rotates each row of x in place for its position.
func (p *Pool) Rope(x Matrix, r *Rope, positions []int32) {
	p.overRows(x.Rows, x.Cols, rowsTask{op: opRope, a: x, rope: r, pos: positions})
}

// Gate sets dst = act(gate) ⊙ up: SwiGLU and GeGLU (Shazeer, 2020). dst may be
// gate or up.
func (p *Pool) Gate(dst, gate, up Matrix, act Activation) {
	sameShape(dst, gate)
	sameShape(dst, up)
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opGated, a: dst, b: gate, c: up, act: act})
}

// Activate sets dst = act(x). dst may be x.
func (p *Pool) Activate(dst, x Matrix, act Activation) {
	sameShape(dst, x)
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opActivate, a: dst, b: x, act: act})
}

// Add adds x to dst.
func (p *Pool) Add(dst, x Matrix) {
	sameShape(dst, x)
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opAdd, a: dst, b: x})
}

// AddBias adds bias to each row of dst.
func (p *Pool) AddBias(dst Matrix, bias []float32) {
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opBias, a: dst, u: bias})
}

// AddScaled adds f·x to dst.
func (p *Pool) AddScaled(dst Matrix, f float32, x Matrix) {
	sameShape(dst, x)
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opAddScaled, a: dst, b: x, f: f})
}

// AddProduct adds (v + c)⊙x to dst, row by row.
func (p *Pool) AddProduct(dst, x Matrix, v []float32, c float32) {
	sameShape(dst, x)
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opAddProduct, a: dst, b: x, u: v, f: c})
}

// ScaleColumns multiplies each row of dst by v, element by element.
func (p *Pool) ScaleColumns(dst Matrix, v []float32) {
	p.overRows(dst.Rows, dst.Cols, rowsTask{op: opScaleColumns, a: dst, u: v})
}

func addProduct(dst, x, v []float32, c float32) {
	x, v = x[:len(dst)], v[:len(dst)]
	for i := range dst {
		dst[i] += (v[i] + c) * x[i]
	}
}

// RMSNorm is Pool.RMSNorm for one row, without an offset.
func RMSNorm(dst, x, weight []float32, eps float32) {
	scale := normScale(float64(Dot(x, x)), len(x), eps)
	if v := active.vectors; v != nil && len(x) > 0 {
		v.norm(&dst[0], &x[0], &weight[:len(x)][0], 0, scale, len(x))
		return
	}
	for i, v := range x {
		dst[i] = weight[i] * (v * scale)
	}
}

// normScale is 1/√(squares/n+eps). It is NaN where the sum of the squares
// overflows: 1/∞ would make zeros of the row, and the fault would not show.
func normScale(squares float64, n int, eps float32) float32 {
	if squares > math.MaxFloat32 {
		return float32(math.NaN())
	}
	return float32(1 / math.Sqrt(squares/float64(n)+float64(eps)))
}

// LayerNorm is Pool.LayerNorm for one row.
func LayerNorm(dst, x, weight, bias []float32, eps float32) {
	if v := active.vectors; v != nil && len(x) > 0 {
		mean := float32(float64(v.sum(&x[0], len(x))) / float64(len(x)))
		scale := normScale(float64(v.spread(&x[0], mean, len(x))), len(x), eps)
		v.norm(&dst[0], &x[0], &weight[:len(x)][0], mean, scale, len(x))
		if len(bias) > 0 {
			Add(dst, bias)
		}
		return
	}
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(len(x))
	var squares float64
	for _, v := range x {
		d := float64(v) - mean
		squares += d * d
	}
	scale := normScale(squares, len(x), eps)
	m := float32(mean)
	for i, v := range x {
		dst[i] = weight[i] * ((v - m) * scale)
	}
	if len(bias) > 0 {
		Add(dst, bias)
	}
}

// Add adds x to dst, element by element.
func Add(dst, x []float32) {
	x = x[:len(dst)]
	if v := active.vectors; v != nil && len(dst) > 0 {
		v.add(&dst[0], &x[0], len(dst))
		return
	}
	for i := range dst {
		dst[i] += x[i]
	}
}

// Mul multiplies dst by x, element by element.
func Mul(dst, x []float32) {
	x = x[:len(dst)]
	if v := active.vectors; v != nil && len(dst) > 0 {
		v.mul(&dst[0], &x[0], len(dst))
		return
	}
	for i := range dst {
		dst[i] *= x[i]
	}
}

// mulAdd adds x ⊙ y to dst.
func mulAdd(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	if v := active.vectors; v != nil && len(dst) > 0 {
		v.mulAdd(&dst[0], &x[0], &y[0], len(dst))
		return
	}
	for i := range dst {
		dst[i] += x[i] * y[i]
	}
}

// AddScaled adds a·x to dst.
func AddScaled(dst []float32, a float32, x []float32) {
	if v := active.vectors; v != nil && len(dst) > 0 {
		v.axpy(&dst[0], &x[:len(dst)][0], a, len(dst))
		return
	}
	axpy(dst, a, x)
}

// Finite reports whether x holds neither NaN nor an infinity.
func Finite(x []float32) bool {
	if v := active.vectors; v != nil && len(x) > 0 {
		return v.finite(&x[0], len(x)) == 0
	}
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
