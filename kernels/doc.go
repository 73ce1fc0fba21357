// Package kernels holds the numerical primitives of the project: products of
// float32 activations with frozen weights in their stored form, norms,
// activations, rotary embedding, attention over a paged cache, and the worker
// pool that splits them.
//
// The types are Matrix (float32, row-major), Weight (a frozen matrix in a
// Format such as F16 or Q4_0) and Pool. Every primitive is destination first.
//
// Each output element has one reduction order, fixed by the operand's length
// alone: the number of rows at hand and the number of threads never change a
// bit of a result. Portable Go is always compiled; faster implementations for
// the processor at hand are chosen once at start, and one test suite runs all
// of them.
//
// Operands whose shapes do not fit are a fault of the caller and panic.
package kernels
