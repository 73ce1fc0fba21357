// Package torchfile reads the tensors of a torch.save checkpoint
// (pytorch_model.bin, adapter_model.bin): a zip archive of a pickled state
// dict and its storages, or the single stream that torch wrote before 1.6.
//
// A pickle is a program. The machine here runs it without the means to do
// anything: the only names that it knows are the few that rebuild a tensor
// from a storage, and those build plain values. Any other name, and any opcode
// that a state dict does not need, is an error that names it.
//
// A File answers like a safetensors.File and yields the same Tensor type.
// Contiguous tensors are views of the memory-mapped file; strided ones are
// copied into row-major order. Sizes are checked against the storages before
// anything is allocated. The checksums in the zip are not verified, as torch
// itself does not, since it can be told to leave them out.
package torchfile
