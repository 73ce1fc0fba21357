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
}

func init() {
	for _, i := range []*implementation{&dotAVX2.implementation, &dotAVX512.implementation, &amx} {
		i.int8 = &int8AVX2
	}
}
