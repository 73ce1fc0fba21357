//go:build !unix

package serve

func descriptorLimit() uint64 { return 0 }
