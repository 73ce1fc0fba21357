package models

import "github.com/peft-serve/peft-serve/kernels"

// NewMeasure returns a Pass that computes nothing: its Values have shapes and no
// data. What it makes, keeps and frees is counted by Live as in a computing
// pass, since the same code makes it, and its operations by FLOPs.
func NewMeasure() *Pass {
	p := &Pass{measures: true}
	p.Operations = &measure{pass: p}
	return p
}

// FLOPs counts the floating-point operations of products and of attention, two
// a multiplication. What is done once an element (norms, activations) is left
// out, as is usual.
type FLOPs struct {
	Forward           float64 `json:"forward"`
	Backward          float64 `json:"backward"`
	AttentionForward  float64 `json:"attention_forward"` // scores and weighted values
	AttentionBackward float64 `json:"attention_backward"`
}

// Total is the sum.
func (f FLOPs) Total() float64 {
	return f.Forward + f.Backward + f.AttentionForward + f.AttentionBackward
}

// FLOPs is what a pass of NewMeasure has counted; zero of any other.
func (p *Pass) FLOPs() FLOPs {
	if m, ok := p.Operations.(*measure); ok {
		return m.flops
	}
	return FLOPs{}
}

// measure is Operations that only count.
type measure struct {
	pass  *Pass
	flops FLOPs
}

// product counts rows × out × in multiplications.
func (m *measure) product(rows, out, in int) {
	n := 2 * float64(rows) * float64(out) * float64(in)
	if m.pass.backward {
		m.flops.Backward += n
	} else {
		m.flops.Forward += n
	}
}

func (m *measure) MatMul(_, x kernels.Matrix, w kernels.Weight) { m.product(x.Rows, w.Rows, w.Cols) }

func (m *measure) MatMuls(x kernels.Matrix, products ...kernels.Product) {
	for _, p := range products {
		m.product(x.Rows, p.W.Rows, p.W.Cols)
	}
}

func (m *measure) InputGrad(_, dy kernels.Matrix, w kernels.Weight) {
	m.product(dy.Rows, w.Rows, w.Cols)
}
func (m *measure) WeightGrad(dw, dy, _ kernels.Matrix) { m.product(dy.Rows, dw.Rows, dw.Cols) }

// attention counts two products of each query with each key that it sees.
func (m *measure) attention(spans []kernels.Span, a kernels.Attention, width int) float64 {
	keys := 0
	for _, s := range spans {
		for row := s.Start; row < s.End; row++ {
			first, end := a.Sees(row, s)
			keys += end - first
		}
	}
	return 2 * 2 * float64(keys) * float64(width)
}

func (m *measure) Attend(_, q kernels.Matrix, _ kernels.KV, spans []kernels.Span, a kernels.Attention, _ kernels.Matrix) {
	n := m.attention(spans, a, q.Cols)
	if m.pass.backward {
		m.flops.AttentionBackward += n
	} else {
		m.flops.AttentionForward += n
	}
}

// AttendGrad counts the four products of the two gradients; that the scores are
// computed again is not counted, as is usual.
func (m *measure) AttendGrad(_ kernels.Matrix, _ kernels.KV, _, _, q kernels.Matrix, _ kernels.KV, spans []kernels.Span, a kernels.Attention, _ kernels.Matrix) {
	m.flops.AttentionBackward += 2 * m.attention(spans, a, q.Cols)
}

// disentangled counts a product of queries with keys and with values, and one for
// each part that positions have.
func (m *measure) disentangled(q kernels.Matrix, at kernels.Positions, spans []kernels.Span) float64 {
	pairs, products := 0, 2
	for _, s := range spans {
		pairs += (s.End - s.Start) * (s.End - s.Start)
	}
	for _, part := range []kernels.Matrix{at.K, at.Q} {
		if part.Rows > 0 {
			products++
		}
	}
	return 2 * float64(products) * float64(pairs) * float64(q.Cols)
}

func (m *measure) Disentangle(_, q, _, _ kernels.Matrix, at kernels.Positions, spans []kernels.Span, _ kernels.Disentangled) {
	n := m.disentangled(q, at, spans)
	if m.pass.backward {
		m.flops.AttentionBackward += n
	} else {
		m.flops.AttentionForward += n
	}
}

func (m *measure) DisentangleGrad(_, _, _ kernels.Matrix, _ kernels.Positions, _, q, _, _ kernels.Matrix, at kernels.Positions, spans []kernels.Span, _ kernels.Disentangled) {
	m.flops.AttentionBackward += 2 * m.disentangled(q, at, spans)
}

// Route spreads the rows evenly over the experts.
func (*measure) Route(weights kernels.Matrix, experts []int32, logits kernels.Matrix, _ bool) {
	for i := range experts {
		row, k := i/weights.Cols, i%weights.Cols
		experts[i] = int32((row*weights.Cols + k) % logits.Cols)
	}
}

func (*measure) RouteGrad(_, _, _ kernels.Matrix, _ []int32, _ bool)      {}
func (*measure) Combine(_, _, _ kernels.Matrix, _ []int32)                {}
func (*measure) CombineGrad(_, _, _, _, _ kernels.Matrix, _ []int32)      {}
func (*measure) Zero(kernels.Matrix)                                      {}
func (*measure) Copy(_, _ kernels.Matrix)                                 {}
func (*measure) Gather(_, _ kernels.Matrix, _ []int32)                    {}
func (*measure) AddRows(_, _ kernels.Matrix, _ []int32)                   {}
func (*measure) Lookup(kernels.Matrix, kernels.Weight, []int32)           {}
func (*measure) TakeColumns(_, _ kernels.Matrix, _ []int32)               {}
func (*measure) PutColumns(_, _ kernels.Matrix, _ []int32)                {}
func (*measure) Unfold(_, _ kernels.Matrix, _ []kernels.Span)             {}
func (*measure) UnfoldGrad(_, _ kernels.Matrix, _ []kernels.Span)         {}
func (*measure) Add(_, _ kernels.Matrix)                                  {}
func (*measure) AddScaled(kernels.Matrix, float32, kernels.Matrix)        {}
func (*measure) AddBias(kernels.Matrix, []float32)                        {}
func (*measure) AddProduct(_, _ kernels.Matrix, _ []float32, _ float32)   {}
func (*measure) Scale(kernels.Matrix, float32)                            {}
func (*measure) ScaleColumns(kernels.Matrix, []float32)                   {}
func (*measure) ColumnSums([]float32, kernels.Matrix)                     {}
func (*measure) ColumnProducts(_ []float32, _, _ kernels.Matrix)          {}
func (*measure) AddQuotients(_, _, _ []float32) []int                     { return nil }
func (*measure) Dropout(_, _ kernels.Matrix, _ kernels.Mask, _ uint64)    {}
func (*measure) RMSNorm(_, _ kernels.Matrix, _ []float32, _, _ float32)   {}
func (*measure) LayerNorm(_, _ kernels.Matrix, _, _ []float32, _ float32) {}
func (*measure) NormGrad(_, _, _ kernels.Matrix, _ []float32, _, _ float32, _ bool, _, _, _ []float32) {
}
func (*measure) Activate(_, _ kernels.Matrix, _ kernels.Activation)                           {}
func (*measure) ActivateGrad(_, _, _, _ kernels.Matrix, _ kernels.Activation)                 {}
func (*measure) Gate(_, _, _ kernels.Matrix, _ kernels.Activation)                            {}
func (*measure) GateGrad(_, _, _, _, _ kernels.Matrix, _ kernels.Activation)                  {}
func (*measure) Rope(kernels.Matrix, *kernels.Rope, []int32)                                  {}
func (*measure) RopeGrad(_, _ kernels.Matrix, _ *kernels.Rope, _ []int32)                     {}
func (*measure) CrossEntropy([]float64, kernels.Matrix, []int32, float32)                     {}
func (*measure) ClassEntropy([]float64, kernels.Matrix, []int32, []float32, float32, float32) {}
func (*measure) BinaryEntropy([]float64, kernels.Matrix, kernels.Matrix, float32)             {}
func (*measure) SquaredError([]float64, kernels.Matrix, kernels.Matrix, float32)              {}
func (*measure) StoreKV(kernels.KV, []kernels.Span, kernels.Matrix, kernels.Matrix)           {}
func (*measure) LoadKV(_, _ kernels.Matrix, _ kernels.KV, _ []kernels.Span, _ kernels.Matrix) {}
func (*measure) Run(int, kernels.Task)                                                        {}
func (*measure) Threads() int                                                                 { return 1 }
