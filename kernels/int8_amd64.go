//go:build !noasm

package kernels

//go:generate go run -C _asm . -isa int8-avx2 -pkg kernels -out ../int8_avx2_amd64.s -stubs ../int8_avx2_amd64.go

// int8AVX2 is for every processor with AVX2, those with wider integer units included:
// kernels of theirs would stand beside it, with the same bits.
var int8AVX2 = int8Kernels{
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
	int8Four    = int8Tiles{640, [int8TileRows]int8Tile{int8TileFour_1AVX2, int8TileFour_2AVX2, int8TileFour_3AVX2, int8TileFour_4AVX2, int8TileFour_5AVX2, int8TileFour_6AVX2}}
	int8Five    = int8Tiles{576, [int8TileRows]int8Tile{int8TileFive_1AVX2, int8TileFive_2AVX2, int8TileFive_3AVX2, int8TileFive_4AVX2, int8TileFive_5AVX2, int8TileFive_6AVX2}}
	int8FiveMin = int8Tiles{640, [int8TileRows]int8Tile{int8TileFiveMin_1AVX2, int8TileFiveMin_2AVX2, int8TileFiveMin_3AVX2, int8TileFiveMin_4AVX2, int8TileFiveMin_5AVX2, int8TileFiveMin_6AVX2}}
	int8Six     = int8Tiles{704, [int8TileRows]int8Tile{int8TileSix_1AVX2, int8TileSix_2AVX2, int8TileSix_3AVX2, int8TileSix_4AVX2, int8TileSix_5AVX2, int8TileSix_6AVX2}}
	int8Eight   = int8Tiles{1088, [int8TileRows]int8Tile{int8TileEight_1AVX2, int8TileEight_2AVX2, int8TileEight_3AVX2, int8TileEight_4AVX2, int8TileEight_5AVX2, int8TileEight_6AVX2}}
)

func init() {
	for _, i := range []*implementation{&dotAVX2.implementation, &dotAVX512.implementation, &amx} {
		i.int8 = &int8AVX2
	}
}
