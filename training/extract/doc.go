// Package extract makes a low-rank adapter of the difference of two models, so
// that a full, LISA or block-wise fine-tune can be served beside others on one
// base.
//
// Each changed matrix gives the best approximation of its rank, by a truncated
// singular value decomposition (Eckart and Young, 1936): exact for small
// matrices, randomised with a fixed seed for large ones (Halko, Martinsson and
// Tropp, 2011). Biases and norms are taken over whole. The Report tells the
// error of every matrix and of the logits.
package extract
