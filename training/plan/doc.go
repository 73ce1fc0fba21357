// Package plan tells, from a base's configuration alone, what a training run
// will need: the parameters that each method trains, the memory by category
// and the multiplications.
//
// A Base is the shape of a model, with the sites that adapters act on and no
// weights. A Choice names a method with its settings; Base.Train lays it out
// and gives the Trained parameters, through the very code that lays out an
// adapter for training. Base.Account adds the memory up:
//
//	memory = weights + gradients + optimizer state + activations
//
// The activations are not an estimate: a recording pass is replayed on sizes
// alone, operation by operation, so the account's peak is that of models.Pass.
// Lecture is the usual round account of the literature, of 58 GB for a model
// of 7 billion parameters, and FLOPs counts multiplications as it does.
package plan
