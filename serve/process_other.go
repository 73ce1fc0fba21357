//go:build !unix

package serve

func descriptorLimit() uint64 { return 0 }

func cpuSeconds() float64 { return 0 }
