package kernels

import "math"

// vectors are the element-wise kernels and reductions of an instruction set.
// Each takes as many values as the caller says, the last few under a mask, so
// an element's result does not depend on where it lies.
type vectors struct {
	lanes int

	dot      dotKernel
	add, mul func(dst, x *float32, n int)
	axpy     func(dst *float32, a float32, x *float32, n int)
	norm     func(dst, x, weight *float32, mean, scale float32, n int)
	spread   func(x *float32, mean float32, n int) float32
	sum      func(x *float32, n int) float32
	maximum  func(x *float32, n int) float32
	expSum   func(dst, x *float32, less float32, n int) float32
	rope     func(x, cos, sin *float32, half, heads, stride int, sign float32)

	apply, derivative [len(activations)]func(dst, x *float32, n int)
	gate              [len(activations)]func(dst, x, up *float32, n int)

	quotient func(dst, x *float32, a float32, n int)
	scores   []scoresKernel // by number of queries, as values
	values   []valuesKernel
	product  func(c *float32, cStride, m, n int, a *float32, aRow, aStep int, b *float32, bStride, k int)
	weights  func(p, out *float32, stride, dims int, state *float32, scale float32, from, to, queries int)

	weightsGrad func(p, dp, lse, delta *float32, scale float32, from, to, queries int)
}

type (
	dotKernel    = func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int)
	scoresKernel = func(dst, q *float32, dims int, k *float32)
	valuesKernel = func(dst *float32, stride int, p, v *float32, dims, from, to int)
)

// ArgMax returns the index of the largest value, the first of equals, passing
// over NaN; 0 if there is none.
func ArgMax(x []float32) int {
	top := largest(x)
	for i, v := range x {
		if v == top {
			return i
		}
	}
	return 0
}

// largest is the largest value, passing over NaN, or -∞.
func largest(x []float32) float32 {
	if v := active.vectors; v != nil && len(x) > 0 {
		return v.maximum(&x[0], len(x))
	}
	top := float32(math.Inf(-1))
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}

// LogSumExp returns log Σ exp(x[i]), without overflow.
func LogSumExp(x []float32) float32 {
	top := largest(x)
	if math.IsInf(float64(top), 0) {
		return top
	}
	return top + float32(math.Log(float64(expSum(nil, x, top))))
}

// SoftmaxInPlace replaces x by exp(x[i]) / Σ exp(x[j]).
func SoftmaxInPlace(x []float32) {
	if len(x) == 0 {
		return
	}
	sum := expSum(x, x, largest(x))
	for i := range x {
		x[i] /= sum
	}
}

// expSum sets dst, if it is not nil, to exp(x[i]-less) and returns the sum.
func expSum(dst, x []float32, less float32) float32 {
	if v := active.vectors; v != nil && len(x) > 0 {
		var p *float32
		if dst != nil {
			p = &dst[0]
		}
		return v.expSum(p, &x[0], less, len(x))
	}
	var sum float32
	for i, v := range x {
		e := exp(v - less)
		if dst != nil {
			dst[i] = e
		}
		sum += e
	}
	return sum
}
