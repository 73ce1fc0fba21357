//go:build !linux

package serve

// exchange swaps two folders. For a moment there is none at b.
func exchange(a, b string) error { return exchangeByRename(a, b) }
