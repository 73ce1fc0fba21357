//go:build !noasm

package kernels

// pause lets a watching thread's sibling run.
func pause()

// hasF16C reports whether the processor converts binary16.
func hasF16C() bool
