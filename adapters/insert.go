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
	sum              *models.Norm // the base's, on the sum of output and residual; nil: none

	// In training.
	drop                                 dropout
	downBiasGrad, upBiasGrad, factorGrad []float32
}

var _ models.TrainableInsert = (*insert)(nil)

// Apply implements models.Insert: x is the residual, h the sublayer's output.
func (m *insert) Apply(w *kernels.Worker, x, h kernels.Matrix) {
	f := bottleneckPass{m: m, x: x, h: h}
	f.forward(w, nil)
	f.result(w, f.summed)
	w.Copy(h, f.summed)
}

// dropsOut sets the dropout of the bottleneck's input.
func (m *insert) dropsOut(drop dropout) { m.drop = drop }

// Record implements models.TrainableInsert. The backward step makes what lies
// between x, h and the sum anew: only the two are kept.
func (m *insert) Record(p *models.Pass, s models.Segment, x, h *models.Value) (func(dh, dx kernels.Matrix), []*models.Value) {
	xs, hs := x.Data.Span(s.Start, s.End), h.Data.Span(s.Start, s.End)
	was := p.New(hs.Rows, hs.Cols) // the sublayer's output
	p.Copy(was.Data, hs)
	again := func() (*taking, *bottleneckPass) {
		o, f := &taking{Pass: p}, &bottleneckPass{m: m, x: xs, h: was.Data, row: s.Start, keeps: true}
		f.forward(o, p)
		return o, f
	}
	o, f := again()
	f.result(o, hs)
	p.Free(o.takes()...)
	return func(dh, dx kernels.Matrix) {
		o, f := again()
		f.backward(p, dh, dx)
		p.Free(o.takes()...)
	}, []*models.Value{p.Keep(x), was}
}

// bottleneckPass is one forward pass through a bottleneck with all that its
// backward pass reads.
type bottleneckPass struct {
	m     *insert
	x, h  kernels.Matrix
	row   int  // of the batch, where x begins
	keeps bool // what each step reads; else the next writes over it

	total     kernels.Matrix // output and residual, where their sum is normed
	seen      kernels.Matrix // what it sees, before norm and dropout
	in, t, a  kernels.Matrix // after them; down·in + b; act(t)
	u, summed kernels.Matrix // up·a + b; scaled, and what is added before the norm
}

// forward computes all up to the norm after. p is the pass that records, nil
// for none: then there is no dropout.
func (f *bottleneckPass) forward(o lane, p *models.Pass) {
	m, rows, hidden := f.m, f.x.Rows, f.x.Cols
	switch {
	case m.parallel:
		f.seen = f.x
	case m.residualIn:
		f.seen = o.Take(rows, hidden)
		o.Copy(f.seen, f.h)
		o.Add(f.seen, f.x)
		if m.sum != nil {
			f.total = f.next(o, f.seen)
			if f.keeps {
				o.Copy(f.total, f.seen)
			}
			normalise(o, m.sum, f.seen, f.total)
		}
	default:
		f.seen = f.h
	}
	f.in = f.seen
	if m.before != nil {
		f.in = o.Take(rows, hidden)
		normalise(o, m.before, f.in, f.seen)
	}
	if p != nil && m.drop.on() {
		dropped := o.Take(rows, hidden)
		m.drop.apply(p, dropped, f.in, f.row)
		f.in = dropped
	}
	f.t = o.Take(rows, m.down.Weight.Rows)
	o.MatMul(f.t, f.in, m.down.Weight)
	o.AddBias(f.t, m.downBias)
	f.a = f.next(o, f.t)
	o.Activate(f.a, f.t, m.act)
	f.u = o.Take(rows, hidden)
	o.MatMul(f.u, f.a, m.up.Weight)
	o.AddBias(f.u, m.upBias)
	f.summed = f.next(o, f.u)
	if f.keeps {
		o.Copy(f.summed, f.u)
	}
	m.scale(o, f.summed)
	if f.inside() {
		o.Add(f.summed, f.skip())
	}
}

// next is where a step puts what it makes of v: v itself unless that is kept.
func (f *bottleneckPass) next(o lane, v kernels.Matrix) kernels.Matrix {
	if f.keeps {
		return o.Take(v.Rows, v.Cols)
	}
	return v
}

// inside reports whether the skip connection joins before the norm after.
func (f *bottleneckPass) inside() bool { return f.m.skipBeforeNorm && !f.m.parallel }

// skipsInput reports whether the skip connection carries what the bottleneck
// sees, and not the sublayer's output.
func (f *bottleneckPass) skipsInput() bool { return !f.m.parallel && !f.m.skipOutput }

// skip is what the skip connection carries.
func (f *bottleneckPass) skip() kernels.Matrix {
	if f.skipsInput() {
		return f.seen
	}
	return f.h
}

func normalise(o lane, n *models.Norm, dst, x kernels.Matrix) {
	o.LayerNorm(dst, x, n.Weight, n.Bias, n.Eps)
}

// result sets dst, which may be summed, to what goes to the residual.
func (f *bottleneckPass) result(o lane, dst kernels.Matrix) {
	if f.keeps {
		o.Copy(dst, f.summed)
	}
	if f.m.after != nil {
		normalise(o, f.m.after, dst, dst)
	}
	if !f.inside() {
		o.Add(dst, f.skip())
	}
	if !f.m.residualOut { // the block adds x: take it away
		o.AddScaled(dst, -1, f.x)
	}
}

// backward turns dh into the gradient of the sublayer's output.
func (f *bottleneckPass) backward(p *models.Pass, dh, dx kernels.Matrix) {
	m := f.m
	if !m.residualOut && !dx.Empty() {
		p.AddScaled(dx, -1, dh)
	}
	du := p.New(dh.Rows, dh.Cols)
	p.Copy(du.Data, dh)
	if m.after != nil {
		normGrad(p, m.after, du.Data, f.summed)
	}
	if f.inside() {
		p.Copy(dh, du.Data) // of the skip connection
	}
	f.factorBackward(p, du.Data)
	p.ColumnSums(m.upBiasGrad, du.Data)
	p.WeightGrad(m.up.Grad, du.Data, f.a)
	da, dt := p.New(dh.Rows, f.a.Cols), p.New(dh.Rows, f.a.Cols)
	p.Zero(da.Data)
	p.Zero(dt.Data)
	p.Operations.InputGrad(da.Data, du.Data, m.up.Weight)
	p.ActivateGrad(dt.Data, da.Data, f.t, f.a, m.act)
	p.ColumnSums(m.downBiasGrad, dt.Data)
	p.WeightGrad(m.down.Grad, dt.Data, f.in)
	p.Zero(du.Data) // now the gradient of the input
	p.Operations.InputGrad(du.Data, dt.Data, m.down.Weight)
	if m.drop.on() {
		m.drop.apply(p, du.Data, du.Data, f.row)
	}
	if m.before != nil {
		normGrad(p, m.before, du.Data, f.seen)
	}
	f.spread(p, dh, dx, du.Data)
	p.Free(du, da, dt)
}

// spread adds the gradient dz of what the bottleneck sees, and that of the
// skip connection, which dh holds, to x and h.
func (f *bottleneckPass) spread(p *models.Pass, dh, dx, dz kernels.Matrix) {
	m := f.m
	switch {
	case m.parallel || !m.residualIn:
	case m.sum != nil:
		if f.skipsInput() {
			p.Add(dz, dh)
			p.Zero(dh)
		}
		normGrad(p, m.sum, dz, f.total)
	case f.skipsInput() && !dx.Empty():
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
func (f *bottleneckPass) factorBackward(p *models.Pass, du kernels.Matrix) {
	grad := f.m.factorGrad
	if grad != nil {
		sums := p.New(1, du.Cols)
		p.Zero(sums.Data)
		p.ColumnProducts(sums.Data.Data, du, f.u)
		if len(grad) == du.Cols {
			p.Add(vector(grad), sums.Data)
		} else { // one factor for all columns
			p.ColumnSums(grad, kernels.Matrix{Rows: du.Cols, Cols: 1, Stride: 1, Data: sums.Data.Data})
		}
		p.Free(sums)
	}
	f.m.scale(p, du)
}

// scale multiplies v by the scaling.
func (m *insert) scale(o scaler, v kernels.Matrix) {
	switch {
	case len(m.factor) == v.Cols:
		o.ScaleColumns(v, m.factor)
	case m.factor != nil:
		o.Scale(v, m.factor[0])
	default:
		o.Scale(v, m.scaling)
	}
}

// scaler is a lane or a pass.
type scaler interface {
	Scale(dst kernels.Matrix, f float32)
	ScaleColumns(dst kernels.Matrix, v []float32)
}

// normGrad turns dy into the gradient of the norm's input x.
func normGrad(p *models.Pass, n *models.Norm, dy, x kernels.Matrix) {
	dx, scratch := p.New(dy.Rows, dy.Cols), p.New(2, dy.Rows)
	p.Zero(dx.Data)
	p.NormGrad(dx.Data, dy, x, n.Weight, 0, n.Eps, false, n.WeightGrad, n.BiasGrad, scratch.Data.Data)
	p.Copy(dy, dx.Data)
	p.Free(dx, scratch)
}
