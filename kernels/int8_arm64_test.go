//go:build !noasm

package kernels

// lesserInt8 are the kernels of integers that the processor has better ones than.
func lesserInt8() map[string]*int8Kernels {
	lesser := map[string]*int8Kernels{}
	if neon.int8 != &int8SMULL {
		lesser["smull"] = &int8SMULL
	}
	if neon.int8 == &int8SMMLA {
		lesser["sdot"] = &int8SDOT
	}
	return lesser
}
