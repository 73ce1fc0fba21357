//go:build !noasm

package kernels

import (
	"math"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C _asm . -isa int8-avx2 -pkg kernels -out ../int8_avx2_amd64.s -stubs ../int8_avx2_amd64.go
//go:generate go run -C _asm . -isa int8-vnni -pkg kernels -out ../int8_vnni_amd64.s -stubs ../int8_vnni_amd64.go
//go:generate go run -C _asm . -isa int8-amx -pkg kernels -out ../int8_amx_amd64.s -stubs ../int8_amx_amd64.go

// int8AVX2 is for every processor with AVX2 and without AVX-512 VNNI.
var int8AVX2 = int8Kernels{
	outs: 8, rows: 4, many: 12, tileRows: 6, band: 16 << 10, panel: 256 << 10, wide: true,
	round: int8RoundAVX2,
	products: [len(layouts)][int8Rows]int8Product{
		Q8_0: {int8Q8_0_1AVX2, int8Q8_0_2AVX2, int8Q8_0_3AVX2, int8Q8_0_4AVX2},
		Q4_0: {int8Q4_0_1AVX2, int8Q4_0_2AVX2, int8Q4_0_3AVX2, int8Q4_0_4AVX2},
		Q4_1: {int8Q4_1_1AVX2, int8Q4_1_2AVX2, int8Q4_1_3AVX2, int8Q4_1_4AVX2},
		Q5_0: {int8Q5_0_1AVX2, int8Q5_0_2AVX2, int8Q5_0_3AVX2, int8Q5_0_4AVX2},
		Q5_1: {int8Q5_1_1AVX2, int8Q5_1_2AVX2, int8Q5_1_3AVX2, int8Q5_1_4AVX2},
		Q4_K: {int8Q4_K_1AVX2, int8Q4_K_2AVX2, int8Q4_K_3AVX2, int8Q4_K_4AVX2},
		Q5_K: {int8Q5_K_1AVX2, int8Q5_K_2AVX2, int8Q5_K_3AVX2, int8Q5_K_4AVX2},
		Q6_K: {int8Q6_K_1AVX2, int8Q6_K_2AVX2, int8Q6_K_3AVX2, int8Q6_K_4AVX2},
	},
	unpack: [len(layouts)]func(dst, w *byte, blocks int){
		Q8_0: int8UnpackQ8_0AVX2,
		Q4_0: int8UnpackQ4_0AVX2,
		Q4_1: int8UnpackQ4_1AVX2,
		Q5_0: int8UnpackQ5_0AVX2,
		Q5_1: int8UnpackQ5_1AVX2,
		Q4_K: int8UnpackQ4_KAVX2,
		Q5_K: int8UnpackQ5_KAVX2,
		Q6_K: int8UnpackQ6_KAVX2,
	},
	tiles: [len(layouts)]*int8Tiles{
		Q8_0: &int8Eight, Q4_0: &int8Five, Q4_1: &int8Four, Q5_0: &int8Five, Q5_1: &int8FiveMin,
		Q4_K: &int8Four, Q5_K: &int8FiveMin, Q6_K: &int8Six,
	},
}

// Tiles by what is unpacked: see kernels/_asm/int8tile.go.
var (
	int8Four    = int8Tiles{bytes: 640, mul: []int8Tile{int8TileFour_1AVX2, int8TileFour_2AVX2, int8TileFour_3AVX2, int8TileFour_4AVX2, int8TileFour_5AVX2, int8TileFour_6AVX2}}
	int8Five    = int8Tiles{bytes: 576, mul: []int8Tile{int8TileFive_1AVX2, int8TileFive_2AVX2, int8TileFive_3AVX2, int8TileFive_4AVX2, int8TileFive_5AVX2, int8TileFive_6AVX2}}
	int8FiveMin = int8Tiles{bytes: 640, mul: []int8Tile{int8TileFiveMin_1AVX2, int8TileFiveMin_2AVX2, int8TileFiveMin_3AVX2, int8TileFiveMin_4AVX2, int8TileFiveMin_5AVX2, int8TileFiveMin_6AVX2}}
	int8Six     = int8Tiles{bytes: 704, mul: []int8Tile{int8TileSix_1AVX2, int8TileSix_2AVX2, int8TileSix_3AVX2, int8TileSix_4AVX2, int8TileSix_5AVX2, int8TileSix_6AVX2}}
	int8Eight   = int8Tiles{bytes: 1088, mul: []int8Tile{int8TileEight_1AVX2, int8TileEight_2AVX2, int8TileEight_3AVX2, int8TileEight_4AVX2, int8TileEight_5AVX2, int8TileEight_6AVX2}}
)

// int8VNNI is for processors with AVX-512 VNNI: sixteen outputs side by side, and sums
// of four products by one instruction.
var int8VNNI = int8Kernels{
	outs: 16, rows: 8, many: math.MaxInt,
	round: int8RoundAVX2,
	products: [len(layouts)][int8Rows]int8Product{
		Q8_0: {int8Q8_0_1VNNI, int8Q8_0_2VNNI, int8Q8_0_3VNNI, int8Q8_0_4VNNI, int8Q8_0_5VNNI, int8Q8_0_6VNNI, int8Q8_0_7VNNI, int8Q8_0_8VNNI},
		Q4_0: {int8Q4_0_1VNNI, int8Q4_0_2VNNI, int8Q4_0_3VNNI, int8Q4_0_4VNNI, int8Q4_0_5VNNI, int8Q4_0_6VNNI, int8Q4_0_7VNNI, int8Q4_0_8VNNI},
		Q4_1: {int8Q4_1_1VNNI, int8Q4_1_2VNNI, int8Q4_1_3VNNI, int8Q4_1_4VNNI, int8Q4_1_5VNNI, int8Q4_1_6VNNI, int8Q4_1_7VNNI, int8Q4_1_8VNNI},
		Q5_0: {int8Q5_0_1VNNI, int8Q5_0_2VNNI, int8Q5_0_3VNNI, int8Q5_0_4VNNI, int8Q5_0_5VNNI, int8Q5_0_6VNNI, int8Q5_0_7VNNI, int8Q5_0_8VNNI},
		Q5_1: {int8Q5_1_1VNNI, int8Q5_1_2VNNI, int8Q5_1_3VNNI, int8Q5_1_4VNNI, int8Q5_1_5VNNI, int8Q5_1_6VNNI, int8Q5_1_7VNNI, int8Q5_1_8VNNI},
		Q4_K: {int8Q4_K_1VNNI, int8Q4_K_2VNNI, int8Q4_K_3VNNI, int8Q4_K_4VNNI, int8Q4_K_5VNNI, int8Q4_K_6VNNI, int8Q4_K_7VNNI, int8Q4_K_8VNNI},
		Q5_K: {int8Q5_K_1VNNI, int8Q5_K_2VNNI, int8Q5_K_3VNNI, int8Q5_K_4VNNI, int8Q5_K_5VNNI, int8Q5_K_6VNNI, int8Q5_K_7VNNI, int8Q5_K_8VNNI},
		Q6_K: {int8Q6_K_1VNNI, int8Q6_K_2VNNI, int8Q6_K_3VNNI, int8Q6_K_4VNNI, int8Q6_K_5VNNI, int8Q6_K_6VNNI, int8Q6_K_7VNNI, int8Q6_K_8VNNI},
	},
}

// int8AMX is int8VNNI with tiles of sixteen rows.
var int8AMX = int8Kernels{
	outs: 16, rows: 8, many: 32, tileRows: 16, band: 48 << 10, panel: 512 << 10,
	round:    int8RoundAVX2,
	apart:    int8RoundAMX,
	products: int8VNNI.products,
	unpack: [len(layouts)]func(dst, w *byte, blocks int){
		Q8_0: int8UnpackQ8_0AMX,
		Q4_0: int8UnpackQ4_0AMX,
		Q4_1: int8UnpackQ4_1AMX,
		Q5_0: int8UnpackQ5_0AMX,
		Q5_1: int8UnpackQ5_1AMX,
		Q4_K: int8UnpackQ4_KAMX,
		Q5_K: int8UnpackQ5_KAMX,
		Q6_K: int8UnpackQ6_KAMX,
	},
	tiles: [len(layouts)]*int8Tiles{
		Q8_0: &amxPlain, Q4_0: &amxPlain, Q4_1: &amxMin, Q5_0: &amxPlain, Q5_1: &amxMin,
		Q4_K: &amxMin, Q5_K: &amxMin, Q6_K: &amxHalves,
	},
}

var (
	amxPlain  = int8Tiles{bytes: 1152, apart: int8TilePlainAMX}
	amxMin    = int8Tiles{bytes: 1280, apart: int8TileMinAMX}
	amxHalves = int8Tiles{bytes: 1408, apart: int8TileHalvesAMX}
)

func init() {
	dotAVX2.int8, dotAVX512.int8, amx.int8 = &int8AVX2, &int8AVX2, &int8AMX
	if cpu.X86.HasAVX512VNNI {
		dotAVX512.int8 = &int8VNNI
	}
}
