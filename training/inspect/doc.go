// Package inspect says what an adapter is, and how far an adapter or a whole
// fine-tune moves a base.
//
// Describe needs the adapter's folder alone: method, rank, targets, sizes, the
// digest by which a server knows it, and the norms of its tensors by layer.
// Against needs the base too: it takes each changed matrix apart into
// magnitudes and directions as Liu et al. (2024) do for DoRA, and correlates
// how the two change over the layers.
package inspect
