//go:build !noasm

package kernels

import (
	"math"

	"golang.org/x/sys/cpu"
)

// int8SMULL is for every arm64 processor: its instructions are those of ARMv8.0.
var int8SMULL = int8Kernels{
	outs: 8, rows: 2, many: math.MaxInt,
	round: int8RoundNEON,
	products: [len(layouts)][int8Rows]int8Product{
		Q8_0: {int8LongQ8_0_1NEON, int8LongQ8_0_2NEON},
		Q4_0: {int8LongQ4_0_1NEON, int8LongQ4_0_2NEON},
		Q4_1: {int8LongQ4_1_1NEON, int8LongQ4_1_2NEON},
		Q5_0: {int8LongQ5_0_1NEON, int8LongQ5_0_2NEON},
		Q5_1: {int8LongQ5_1_1NEON, int8LongQ5_1_2NEON},
		Q4_K: {int8LongQ4_K_1NEON, int8LongQ4_K_2NEON},
		Q5_K: {int8LongQ5_K_1NEON, int8LongQ5_K_2NEON},
		Q6_K: {int8LongQ6_K_1NEON, int8LongQ6_K_2NEON},
	},
}

// int8SDOT is for processors with the dot products of ARMv8.2: eight outputs side by side,
// two vectors. Sizes are reckoned from a first-level cache of 64 KiB, not measured.
var int8SDOT = int8Kernels{
	outs: 8, rows: 4, many: 12, tileRows: 16, band: 32 << 10, panel: 512 << 10,
	round: int8RoundNEON,
	apart: int8RoundApartNEON,
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
	unpack: [len(layouts)]func(dst, w *byte, blocks int){
		Q8_0: int8UnpackQ8_0NEON,
		Q4_0: int8UnpackQ4_0NEON,
		Q4_1: int8UnpackQ4_1NEON,
		Q5_0: int8UnpackQ5_0NEON,
		Q5_1: int8UnpackQ5_1NEON,
		Q4_K: int8UnpackQ4_KNEON,
		Q5_K: int8UnpackQ5_KNEON,
		Q6_K: int8UnpackQ6_KNEON,
	},
	tiles: [len(layouts)]*int8Tiles{
		Q8_0: &sdotPlain, Q4_0: &sdotPlain, Q4_1: &sdotMin, Q5_0: &sdotPlain, Q5_1: &sdotMin,
		Q4_K: &sdotMin, Q5_K: &sdotMin, Q6_K: &sdotHalves,
	},
}

var (
	sdotPlain  = int8Tiles{bytes: 576, apart: int8TilePlainNEON}
	sdotMin    = int8Tiles{bytes: 640, apart: int8TileMinNEON}
	sdotHalves = int8Tiles{bytes: 704, apart: int8TileHalvesNEON}
)

// int8SMMLA is for those with products of matrices of eight columns by two rows, too
// (FEAT_I8MM), which many rows take.
var int8SMMLA = int8Kernels{
	outs: 8, rows: 4, many: 8, tileRows: 16, band: 32 << 10, panel: 512 << 10,
	round:    int8RoundNEON,
	apart:    int8RoundPairsNEON,
	pairs:    true,
	products: int8SDOT.products,
	unpack: [len(layouts)]func(dst, w *byte, blocks int){
		Q8_0: int8UnpackQ8_0MatrixNEON,
		Q4_0: int8UnpackQ4_0MatrixNEON,
		Q4_1: int8UnpackQ4_1MatrixNEON,
		Q5_0: int8UnpackQ5_0MatrixNEON,
		Q5_1: int8UnpackQ5_1MatrixNEON,
		Q4_K: int8UnpackQ4_KMatrixNEON,
		Q5_K: int8UnpackQ5_KMatrixNEON,
		Q6_K: int8UnpackQ6_KMatrixNEON,
	},
	tiles: [len(layouts)]*int8Tiles{
		Q8_0: &smmlaPlain, Q4_0: &smmlaPlain, Q4_1: &smmlaMin, Q5_0: &smmlaPlain, Q5_1: &smmlaMin,
		Q4_K: &smmlaMin, Q5_K: &smmlaMin, Q6_K: &smmlaHalves,
	},
}

var (
	smmlaPlain  = int8Tiles{bytes: 640, apart: int8TilePlainMatrixNEON}
	smmlaMin    = int8Tiles{bytes: 768, apart: int8TileMinMatrixNEON}
	smmlaHalves = int8Tiles{bytes: 896, apart: int8TileHalvesMatrixNEON}
)

func init() {
	neon.int8 = &int8SMULL
	switch {
	case cpu.ARM64.HasI8MM && cpu.ARM64.HasASIMDDP:
		neon.int8 = &int8SMMLA
	case cpu.ARM64.HasASIMDDP:
		neon.int8 = &int8SDOT
	}
}
