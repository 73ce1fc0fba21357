package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// insert is one bottleneck: up·act(down·a + b) + b, times the scaling, between
// norms and a skip connection of its own (AdapterHub, methods/bottleneck.py).
type insert struct {
	bottleneckShape
	down, up         *Param // [d, hidden], [hidden, d]
	downBias, upBias []float32
	act              kernels.Activation
	scaling          float32
	factor           []float32    // learned, [1] or [hidden]; nil: scaling
	before, after    *models.Norm // nil: none

	// In training.
	drop                                 dropout
	downBiasGrad, upBiasGrad, factorGrad []float32
}

var _ models.TrainableInsert = (*insert)(nil)

// Apply implements models.Insert: x is the residual, h the sublayer's output.
func (m *insert) Apply(w *kernels.Worker, x, h kernels.Matrix) {
	rows, hidden, d := x.Rows, x.Cols, m.down.Weight.Rows
	memory := w.Scratch(rows * (3*hidden + d))
	take := func(cols int) kernels.Matrix {
		v := kernels.MatrixOf(rows, cols, memory)
		memory = memory[rows*cols:]
		return v
	}
	z, a, u, t := take(hidden), take(hidden), take(hidden), take(d)

	switch { // z: what the bottleneck sees
	case m.parallel:
		z.Copy(x)
	case m.residualIn:
		z.Copy(h)
		add(z, x)
	default:
		z.Copy(h)
	}
	in := z
	if m.before != nil {
		normalise(a, z, m.before)
		in = a
	}
	w.MatMul(t, in, m.down.Weight)
	for r := range rows {
		row := t.Row(r)
		kernels.Add(row, m.downBias)
		m.act.Apply(row, row)
	}
	w.MatMul(u, t, m.up.Weight)
	for r := range rows {
		kernels.Add(u.Row(r), m.upBias)
		m.scale(u.Row(r))
	}

	skip := h
	if !m.parallel && !m.skipOutput {
		skip = z
	}
	inside := m.skipBeforeNorm && !m.parallel
	if inside {
		add(u, skip)
	}
	if m.after != nil {
		normalise(u, u, m.after)
	}
	if !inside {
		add(u, skip)
	}
	h.Copy(u)
	if !m.residualOut { // the block adds x: take it away
		for r := range rows {
			kernels.AddScaled(h.Row(r), -1, x.Row(r))
		}
	}
}

func (m *insert) scale(row []float32) {
	switch {
	case len(m.factor) == len(row):
		kernels.Mul(row, m.factor)
	default:
		f := m.scaling
		if m.factor != nil {
			f = m.factor[0]
		}
		for i := range row {
			row[i] *= f
		}
	}
}

func add(dst, x kernels.Matrix) {
	for r := range dst.Rows {
		kernels.Add(dst.Row(r), x.Row(r))
	}
}

func normalise(dst, x kernels.Matrix, n *models.Norm) {
	for r := range dst.Rows {
		kernels.LayerNorm(dst.Row(r), x.Row(r), n.Weight, n.Bias, n.Eps)
	}
}

// dropsOut sets the dropout of the bottleneck's input.
func (m *insert) dropsOut(drop dropout) { m.drop = drop }

// Record implements models.TrainableInsert. The backward step makes what lies
// between x, h and the sum anew: only the two are kept.
func (m *insert) Record(p *models.Pass, s models.Segment, x, h *models.Value) (func(dh, dx kernels.Matrix), []*models.Value) {
	xs, hs := x.Data.Span(s.Start, s.End), h.Data.Span(s.Start, s.End)
	was := p.New(hs.Rows, hs.Cols) // the sublayer's output
	p.Copy(was.Data, hs)
	if m.drop.on() {
		f := m.forward(p, xs, was.Data, s.Start)
		f.result(hs)
		f.free()
	} else {
		const band = 64
		p.Run((xs.Rows+band-1)/band, rowTask(func(w *kernels.Worker, i int) {
			from, to := i*band, min((i+1)*band, xs.Rows)
			m.Apply(w, xs.Span(from, to), hs.Span(from, to))
		}))
	}
	return func(dh, dx kernels.Matrix) {
		f := m.forward(p, xs, was.Data, s.Start)
		f.backward(dh, dx)
		f.free()
	}, []*models.Value{p.Keep(x), was}
}

// bottleneckPass is one forward pass through a bottleneck with all that its
// backward pass reads.
type bottleneckPass struct {
	m                   *insert
	p                   *models.Pass
	row                 int
	x, h                kernels.Matrix
	z                   kernels.Matrix // what it sees, before norm and dropout
	in, t, a, u, summed *models.Value
}

func (m *insert) forward(p *models.Pass, x, h kernels.Matrix, row int) *bottleneckPass {
	d := m.down.Weight.Rows
	f := &bottleneckPass{m: m, p: p, row: row, x: x, h: h, z: h}
	f.in, f.t, f.a = p.New(x.Rows, x.Cols), p.New(x.Rows, d), p.New(x.Rows, d)
	f.u, f.summed = p.New(x.Rows, x.Cols), p.New(x.Rows, x.Cols)
	if m.parallel {
		f.z = x
	}
	f.input(f.in.Data)
	if m.before != nil {
		f.norm(m.before, f.in.Data, f.in.Data)
	}
	if m.drop.on() {
		m.drop.apply(p, f.in.Data, f.in.Data, row)
	}
	p.MatMul(f.t.Data, f.in.Data, m.down.Weight)
	p.AddBias(f.t.Data, m.downBias)
	p.Activate(f.a.Data, f.t.Data, m.act)
	p.MatMul(f.u.Data, f.a.Data, m.up.Weight)
	p.AddBias(f.u.Data, m.upBias)
	p.Copy(f.summed.Data, f.u.Data)
	f.scale(f.summed.Data)
	if f.inside() {
		f.skip(f.summed.Data)
	}
	return f
}

// input sets dst to what the bottleneck sees.
func (f *bottleneckPass) input(dst kernels.Matrix) {
	f.p.Copy(dst, f.z)
	if !f.m.parallel && f.m.residualIn {
		f.p.Add(dst, f.x)
	}
}

func (f *bottleneckPass) inside() bool { return f.m.skipBeforeNorm && !f.m.parallel }

// skipsInput reports whether the skip connection carries what the bottleneck
// sees, and not the sublayer's output.
func (f *bottleneckPass) skipsInput() bool { return !f.m.parallel && !f.m.skipOutput }

func (f *bottleneckPass) skip(dst kernels.Matrix) {
	f.p.Add(dst, f.h)
	if f.skipsInput() && f.m.residualIn {
		f.p.Add(dst, f.x)
	}
}

func (f *bottleneckPass) norm(n *models.Norm, dst, x kernels.Matrix) {
	f.p.LayerNorm(dst, x, n.Weight, n.Bias, n.Eps)
}

// result sets dst to what goes to the residual.
func (f *bottleneckPass) result(dst kernels.Matrix) {
	f.p.Copy(dst, f.summed.Data)
	if f.m.after != nil {
		f.norm(f.m.after, dst, dst)
	}
	if !f.inside() {
		f.skip(dst)
	}
	if !f.m.residualOut {
		f.p.AddScaled(dst, -1, f.x)
	}
}

// backward turns dh into the gradient of the sublayer's output.
func (f *bottleneckPass) backward(dh, dx kernels.Matrix) {
	m, p := f.m, f.p
	if !m.residualOut && !dx.Empty() {
		p.AddScaled(dx, -1, dh)
	}
	du := p.New(dh.Rows, dh.Cols)
	p.Copy(du.Data, dh)
	if m.after != nil {
		f.normGrad(m.after, du.Data, f.summed.Data)
	}
	if f.inside() {
		p.Copy(dh, du.Data) // of the skip connection
	}
	f.factorBackward(du.Data)
	p.ColumnSums(m.upBiasGrad, du.Data)
	p.WeightGrad(m.up.Grad, du.Data, f.a.Data)
	da, dt := p.New(dh.Rows, f.a.Data.Cols), p.New(dh.Rows, f.a.Data.Cols)
	p.Zero(da.Data)
	p.Zero(dt.Data)
	p.Operations.InputGrad(da.Data, du.Data, m.up.Weight)
	p.ActivateGrad(dt.Data, da.Data, f.t.Data, f.a.Data, m.act)
	p.ColumnSums(m.downBiasGrad, dt.Data)
	p.WeightGrad(m.down.Grad, dt.Data, f.in.Data)
	p.Zero(du.Data) // now the gradient of the input
	p.Operations.InputGrad(du.Data, dt.Data, m.down.Weight)
	if m.drop.on() {
		m.drop.apply(p, du.Data, du.Data, f.row)
	}
	if m.before != nil {
		f.input(f.in.Data)
		f.normGrad(m.before, du.Data, f.in.Data)
	}
	f.spread(dh, dx, du.Data)
	p.Free(du, da, dt)
}

// spread adds the gradient dz of what the bottleneck sees, and that of the
// skip connection, which dh holds, to x and h.
func (f *bottleneckPass) spread(dh, dx, dz kernels.Matrix) {
	m, p := f.m, f.p
	if m.residualIn && f.skipsInput() && !dx.Empty() {
		p.Add(dx, dh)
	}
	if m.parallel {
		if !dx.Empty() {
			p.Add(dx, dz)
		}
		return
	}
	p.Add(dh, dz)
	if m.residualIn && !dx.Empty() {
		p.Add(dx, dz)
	}
}

// factorBackward turns the gradient of f⊙u into that of u.
func (f *bottleneckPass) factorBackward(du kernels.Matrix) {
	p, grad := f.p, f.m.factorGrad
	if grad != nil {
		sums := p.New(1, du.Cols)
		p.Zero(sums.Data)
		p.ColumnProducts(sums.Data.Data, du, f.u.Data)
		if len(grad) == du.Cols {
			p.Add(vector(grad), sums.Data)
		} else { // one factor for all columns
			p.ColumnSums(grad, kernels.Matrix{Rows: du.Cols, Cols: 1, Stride: 1, Data: sums.Data.Data})
		}
		p.Free(sums)
	}
	f.scale(du)
}

// scale multiplies v by the scaling.
func (f *bottleneckPass) scale(v kernels.Matrix) {
	m := f.m
	switch {
	case len(m.factor) == v.Cols:
		f.p.ScaleColumns(v, m.factor)
	case m.factor != nil:
		f.p.Scale(v, m.factor[0])
	default:
		f.p.Scale(v, m.scaling)
	}
}

// normGrad turns dy into the gradient of the norm's input x.
func (f *bottleneckPass) normGrad(n *models.Norm, dy, x kernels.Matrix) {
	dx, scratch := f.p.New(dy.Rows, dy.Cols), f.p.New(2, dy.Rows)
	f.p.Zero(dx.Data)
	f.p.NormGrad(dx.Data, dy, x, n.Weight, n.Eps, false, n.WeightGrad, n.BiasGrad, scratch.Data.Data)
	f.p.Copy(dy, dx.Data)
	f.p.Free(dx, scratch)
}

func (f *bottleneckPass) free() { f.p.Free(f.in, f.t, f.a, f.u, f.summed) }
