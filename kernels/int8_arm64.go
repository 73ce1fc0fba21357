//go:build !noasm

package kernels

import (
	"math"

	"golang.org/x/sys/cpu"
)

// int8SDOT is for processors with the dot products of ARMv8.2 (SDOT): eight outputs side by
// side, two vectors.
var int8SDOT = int8Kernels{
	outs: 8, rows: 4, many: math.MaxInt,
	round: int8RoundNEON,
	products: [len(layouts)][int8Rows]int8Product{
		Q8_0: {int8Q8_0_1NEON, int8Q8_0_2NEON, int8Q8_0_3NEON, int8Q8_0_4NEON},
		Q4_0: {int8Q4_0_1NEON, int8Q4_0_2NEON, int8Q4_0_3NEON, int8Q4_0_4NEON},
		Q4_1: {int8Q4_1_1NEON, int8Q4_1_2NEON, int8Q4_1_3NEON, int8Q4_1_4NEON},
		Q5_0: {int8Q5_0_1NEON, int8Q5_0_2NEON, int8Q5_0_3NEON, int8Q5_0_4NEON},
		Q5_1: {int8Q5_1_1NEON, int8Q5_1_2NEON, int8Q5_1_3NEON, int8Q5_1_4NEON},
		Q4_K: {int8Q4_K_1NEON, int8Q4_K_2NEON, int8Q4_K_3NEON, int8Q4_K_4NEON},
		Q5_K: {int8Q5_K_1NEON, int8Q5_K_2NEON, int8Q5_K_3NEON, int8Q5_K_4NEON},
		Q6_K: {int8Q6_K_1NEON, int8Q6_K_2NEON, int8Q6_K_3NEON, int8Q6_K_4NEON},
	},
}

func init() {
	if cpu.ARM64.HasASIMDDP {
		neon.int8 = &int8SDOT
	}
}
