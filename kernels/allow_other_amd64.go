//go:build !linux && !noasm

package kernels

func allowTiles() bool { return false }
