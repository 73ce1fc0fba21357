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
}

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
