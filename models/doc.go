// Package models holds base transformers and the blocks they are built from.
//
// A Model is opened from a Hugging Face folder or a GGUF file (Open), computes
// a Batch of rows in a Pass, and names its Sites, the places where an Adapter
// may change what a row sees. Each architecture is one file, read from top to
// bottom. Leaf packages read the file formats and tokenizers.
//
// Weights are frozen and stay in their stored form, mapped where they can be.
package models
