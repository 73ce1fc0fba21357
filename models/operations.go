package models

import "github.com/peft-serve/peft-serve/kernels"

// Operations is everything that a pass computes with: models, adapters and
// training call these and touch no values themselves. kernels.Pool computes
// them; a measuring pass counts what they would cost. What each does is said
// where kernels.Pool defines it; the gradients add to what they set.
type Operations interface {
	// Rows as they are.
	Zero(dst kernels.Matrix)
	Copy(dst, src kernels.Matrix)
	Gather(dst, src kernels.Matrix, rows []int32)
	AddRows(dst, src kernels.Matrix, rows []int32)
	Lookup(dst kernels.Matrix, w kernels.Weight, rows []int32)
	TakeColumns(dst, src kernels.Matrix, columns []int32)
	PutColumns(dst, x kernels.Matrix, columns []int32)
	Unfold(dst, x kernels.Matrix, spans []kernels.Span)
	UnfoldGrad(dx, dy kernels.Matrix, spans []kernels.Span)

	// Sums and factors.
	Add(dst, x kernels.Matrix)
	AddScaled(dst kernels.Matrix, f float32, x kernels.Matrix)
	AddBias(dst kernels.Matrix, bias []float32)
	AddProduct(dst, x kernels.Matrix, v []float32, c float32)
	Scale(dst kernels.Matrix, f float32)
	ScaleColumns(dst kernels.Matrix, v []float32)
	ColumnSums(sums []float32, x kernels.Matrix)
	ColumnProducts(sums []float32, a, b kernels.Matrix)
	AddQuotients(dst, a, b []float32) (zeros []int)
	Dropout(dst, x kernels.Matrix, m kernels.Mask, first uint64)

	// Products with weights.
	MatMul(dst, x kernels.Matrix, w kernels.Weight)
	MatMuls(x kernels.Matrix, products ...kernels.Product)
	InputGrad(dx, dy kernels.Matrix, w kernels.Weight)
	WeightGrad(dw, dy, x kernels.Matrix)

	// What a transformer does by row.
	RMSNorm(dst, x kernels.Matrix, weight []float32, offset, eps float32)
	LayerNorm(dst, x kernels.Matrix, weight, bias []float32, eps float32)
	NormGrad(dx, dy, x kernels.Matrix, weight []float32, offset, eps float32, rms bool, dw, db, rows []float32)
	Activate(dst, x kernels.Matrix, act kernels.Activation)
	ActivateGrad(dx, dy, x, scratch kernels.Matrix, act kernels.Activation)
	Gate(dst, gate, up kernels.Matrix, act kernels.Activation)
	GateGrad(dgate, dup, dy, gate, up kernels.Matrix, act kernels.Activation)
	Rope(x kernels.Matrix, r *kernels.Rope, positions []int32)
	RopeGrad(dx, dy kernels.Matrix, r *kernels.Rope, positions []int32)
	CrossEntropy(losses []float64, logits kernels.Matrix, targets []int32, scale float32)
	ClassEntropy(losses []float64, scores kernels.Matrix, targets []int32, weights []float32, smoothing, scale float32)
	BinaryEntropy(losses []float64, scores, targets kernels.Matrix, scale float32)
	SquaredError(losses []float64, scores, targets kernels.Matrix, scale float32)

	// What a mixture of experts does by row.
	Route(weights kernels.Matrix, experts []int32, logits kernels.Matrix, normalise bool)
	RouteGrad(dlogits, dweights, logits kernels.Matrix, experts []int32, normalise bool)
	Combine(dst, x, weights kernels.Matrix, places []int32)
	CombineGrad(dx, dweights, dy, x, weights kernels.Matrix, places []int32)

	// Attention over cached keys and values.
	StoreKV(kv kernels.KV, spans []kernels.Span, k, v kernels.Matrix)
	LoadKV(k, v kernels.Matrix, kv kernels.KV, spans []kernels.Span, row kernels.Matrix)
	Attend(dst, q kernels.Matrix, kv kernels.KV, spans []kernels.Span, a kernels.Attention, lse kernels.Matrix)
	AttendGrad(dq kernels.Matrix, dkv kernels.KV, dy, y, q kernels.Matrix, kv kernels.KV, spans []kernels.Span, a kernels.Attention, lse kernels.Matrix)

	// Attention of DeBERTa, of texts that are computed whole.
	Disentangle(dst, q, k, v kernels.Matrix, at kernels.Positions, spans []kernels.Span, a kernels.Disentangled)
	DisentangleGrad(dq, dk, dv kernels.Matrix, dat kernels.Positions, dy, q, k, v kernels.Matrix, at kernels.Positions, spans []kernels.Span, a kernels.Disentangled)

	// Run computes what an adapter does to bands of rows, on one worker each.
	Run(parts int, t kernels.Task)
	Threads() int // that do so at once
}

var _ Operations = (*kernels.Pool)(nil)
