// Package training fits adapters, and whole models, through the very forward
// code that serves them.
//
// A Method says which parameters are trained now: those of an adapter, of
// every block, or of the blocks that LISA or block-wise training has drawn. A
// Trainer turns sequences into gradients and gradients into steps: a forward
// pass that records, a cross-entropy computed in chunks, the backward pass, an
// Optimizer. A Run wraps it in data, schedule, validation, metrics and
// checkpoints.
//
// Every reduction has one fixed order and every random number is a function of
// the seed and a counter, so a run has the same bits at any thread count, and
// after it was killed and resumed.
package training
