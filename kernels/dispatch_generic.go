//go:build (!amd64 && !arm64) || noasm

package kernels

// implementations lists what this processor and build can run, fastest last.
func implementations() []*implementation { return []*implementation{&portable} }

// pause lets a watching thread's sibling run.
func pause() {}
