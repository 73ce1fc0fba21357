package kernels

import "unsafe"

// vectors are the element-wise kernels and reductions of an instruction set.
// Each takes as many values as the caller says, the last few under a mask, so
// an element's result does not depend on where it lies.
type vectors struct {
	lanes int

	add, mul          func(dst, x *float32, n int)
	mulAdd            func(dst, x, y *float32, n int)
	axpy, scale       func(dst, x *float32, a float32, n int)
	norm              func(dst, x, weight *float32, mean, scale float32, n int)
	normGrad          func(dst, dy, x, weight *float32, mean, scale, a, b float32, n int)
	normWeightGrad    func(dst, dy, x *float32, mean, scale float32, n int)
	rope              func(x, cos, sin *float32, half, heads, stride int, sign float32)
	apply, derivative [len(activations)]func(dst, x *float32, n int)
	gate              [len(activations)]func(dst, x, up *float32, n int)

	dot                  func(x, y *float32, n int) float32
	dot3                 func(x, y, z *float32, mean float32, n int) float32
	sum, maximum, finite func(x *float32, n int) float32
	spread               func(x *float32, mean float32, n int) float32
	expSum               func(x *float32, less float32, n int) float32
	expShift             func(dst, x *float32, less float32, n int) float32

	quotient func(dst, x *float32, a float32, n int)
	scores   [len(layouts)][]scoresKernel // by format of keys and number of queries, as values
	values   [len(layouts)][]valuesKernel
	product  func(c *float32, cStride, m, n int, a *float32, aRow, aStep int, b *float32, bStride, k int)
	weights  func(p, out *float32, stride, dims int, state *float32, scale float32, from, to, queries int)

	// addRows are by format, and none but of those that a factor of an adapter has.
	addRows [len(layouts)]func(dst, a *float32, x *byte, stride, n int)

	// scaledKeys widens keys of Q8_0: see KV.
	scaledKeys func(dst *float32, codes, scales *byte, dims int)

	weightsGrad func(p, dp, lse, delta *float32, scale float32, from, to, queries int)
}

// The kernels of a block of keys and of values also fetch what lies so many bytes ahead
// of it: the block that is next.
type (
	scoresKernel = func(dst, q *float32, dims int, k *byte, ahead int)
	valuesKernel = func(dst *float32, stride int, p *float32, v *byte, dims, from, to, ahead int)
)

func bytePtr(p *float32) *byte { return (*byte)(unsafe.Pointer(p)) }
