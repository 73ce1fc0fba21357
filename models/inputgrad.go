package models

import "github.com/peft-serve/peft-serve/kernels"

// gradOutputs is the number of outputs whose products InputGrad sums before it
// goes on: a fixed split, counted from the first.
const gradOutputs = 1024

// InputGrad adds dy·w to dx. Over the outputs of a whole vocabulary one running
// sum in float32 is off by 1e-4 of its value, because most terms are far
// smaller than the few that come of the labels; so such a sum goes in parts.
func (p *Pass) InputGrad(dx, dy kernels.Matrix, w kernels.Weight) {
	if w.Rows <= 4*gradOutputs {
		p.Operations.InputGrad(dx, dy, w)
		return
	}
	part := p.New(dx.Rows, dx.Cols)
	for from := 0; from < w.Rows; from += gradOutputs {
		to := min(from+gradOutputs, w.Rows)
		p.Zero(part.Data)
		p.Operations.InputGrad(part.Data, dy.Columns(from, to), w.Span(from, to))
		p.Add(dx, part.Data)
	}
	p.Free(part)
}
