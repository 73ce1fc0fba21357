// Package runtime is the inference engine: continuous batching of sequences
// with different adapters over one frozen base.
//
// Engine owns the step loop; a Request submitted to it becomes a sequence and
// answers through a Stream. Catalogue knows the adapters by name and holds the
// loaded ones in a byte-budgeted LRU cache.
//
// The directory's name shadows the standard library's package: import that one
// as goruntime.
package runtime
