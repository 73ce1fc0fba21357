//go:build !arm64 || noasm

package kernels

// lesserInt8 are none: every implementation has kernels of its own.
func lesserInt8() map[string]*int8Kernels { return nil }
