// Package remote keeps adapters that come from elsewhere: from OCI registries
// (remote/oci) and S3-compatible stores (remote/s3).
//
// A Source tells what a URI names now: an Artefact, a list of files and where
// to read them. A Store brings those that are the adapter's into a folder of its own,
// adapter_config.json first, so that one for another base is refused before its
// weights are asked for; one in llama.cpp's form has no configuration of its own, and is
// refused so early by the digests of bases that its source gives alone. The folder takes its name once each file has its
// announced size and digest and is on the disk; it never changes after that.
//
// Whoever answers at the other end is not trusted: sizes, numbers of files and
// times have bounds, a name leads nowhere but into the folder, and what an
// answer leads to is reached as Client says.
package remote
