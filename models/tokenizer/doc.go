// Package tokenizer turns text into token ids and back, bit for bit as the
// tokenizers that the models were trained with.
//
// A [Tokenizer] comes from a Hugging Face tokenizer.json ([FromJSON], [Load])
// or from the metadata of a GGUF file ([FromGGUF]). It is immutable once built
// and safe for concurrent use. Encoding runs five steps, one file each:
//
//	added tokens → normalizer → pre-tokenizer → model → template
//	added.go       normalize.go  split.go        bpe.go   template.go
//	                             scan.go         wordpiece.go
//	                             regex.go        unigram.go
//	                                             wordlevel.go
//
// Decoding is one streaming [Decoder]; [Tokenizer.Decode] is that decoder run
// over the whole sequence, so streamed text and decoded text are always equal.
//
// Whatever a file asks for that this package does not implement is an error
// that names it: a tokenizer is exact or it is refused. Three things in a
// tokenizer.json are left alone on purpose: truncation and padding (the caller
// decides those) and the offsets that trim_offsets is about.
//
// A file may be a stranger's and a text of any size, so an encoding is bounded by
// counts: what its stages may make of a text, how long it looks for matches
// (linear.go), and how many ids it may have (see [Options] and
// [Tokenizer.AtLeast]). It ends with its context.
//
// Text that is not valid UTF-8 is read with each run of invalid bytes replaced
// by U+FFFD.
package tokenizer
