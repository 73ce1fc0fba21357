// Package gguf reads and writes GGUF, the model format of llama.cpp
// (github.com/ggml-org/ggml, docs/gguf.md): typed metadata, then tensors in
// GGML's stored forms, each at an aligned offset.
//
// A File is a read-only view, backed by a memory-mapped file, by the parts of
// a split model or by bytes in memory. Metadata is asked for by key and Go
// type (String, Ints, Bool, …) and decoded then; tensors are viewed, never
// copied, as kernels.Weight. Neither may be used after Close.
//
// Versions 2 and 3 in little-endian order are read. The reader trusts no count
// that a file claims: it walks what is there and allocates in proportion to
// that. Tensors that overlap, lie outside the file or do not fit their type's
// blocks are errors that name the file and the tensor. A tensor of a type that
// the kernels lack is an error only when its Weight is asked for.
//
// A Writer lays out a new file; it is enough to convert a model and to make
// the files of a test.
package gguf
