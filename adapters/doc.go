// Package adapters loads what a fine-tune changes of a base model, in the
// formats of Hugging Face PEFT and its like, and applies it to the rows of a
// batch that ask for it.
//
// A Folder is an adapter on disk: its Config and its tensors, read into memory
// and known by their Digest. Load binds a Folder to a base model and gives an
// Adapter, which answers for the model's sites; New makes the same Adapter
// with float32 parameters to be trained, and Save writes either as PEFT does.
// A Method is one family of adapters; each is one file that registers itself
// under its peft_type.
//
// Everything fails closed. A target that matches nothing, a tensor that is
// missing, unexpected, misshapen or not finite, a base that the adapter was
// not made for and an option that would change the mathematics and is not
// implemented are errors that name the folder and the thing at fault.
//
// The deltas compute rows independently, each element in one fixed order, so
// that a row has the same bits alone and in any batch. They allocate nothing
// once a worker's scratch memory has grown.
package adapters
