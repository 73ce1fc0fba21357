//go:build !noasm

package kernels

// lesserInt8 are the kernels of integers that the processor has better ones than.
func lesserInt8() map[string]*int8Kernels {
	if neon.int8 == &int8SMMLA {
		return map[string]*int8Kernels{"sdot": &int8SDOT}
	}
	return nil
}
