// Package safetensors reads and writes the safetensors format of Hugging Face
// (github.com/huggingface/safetensors): an 8-byte length, a JSON header and
// the tensors' little-endian bytes, with no gap between them.
//
// A File is a read-only view of named tensors, backed by one memory-mapped
// file, by several (a sharded folder with its index) or by bytes in memory.
// A Tensor's Data is a view of that backing, never a copy, and must not be
// used after Close nor be written.
//
// The reader trusts nothing: overlapping or missing ranges, sizes that
// overflow or disagree with the shape, repeated names, unknown types and
// headers over 100 MB are errors that name the file and the tensor, and no
// allocation grows beyond the header's own length.
//
// The writer lays tensors out as the Python library does (by type, then by
// name, header padded with spaces to 8 bytes) so that the same tensors always
// give the same bytes; a file appears under its name only when it is complete
// and on disk.
package safetensors
