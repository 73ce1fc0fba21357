//go:build !noasm

package kernels

//go:generate go run -C _asm . -isa row-avx2 -pkg kernels -out ../row_avx2_amd64.s -stubs ../row_avx2_amd64.go
//go:generate go run -C _asm . -isa row-avx512 -pkg kernels -out ../row_avx512_amd64.s -stubs ../row_avx512_amd64.go

var vectorAVX2 = vectors{
	lanes: 8,

	add: addAVX2, mul: mulAVX2, mulAdd: mulAddAVX2, axpy: axpyAVX2, scale: scaleAVX2, quotient: quotientAVX2,
	norm: normAVX2, normGrad: normGradAVX2, normWeightGrad: normWeightGradAVX2, rope: ropeAVX2,
	apply: [...]func(dst, x *float32, n int){
		SiLU:      siluAVX2,
		GELU:      geluAVX2,
		GELUTanh:  geluTanhAVX2,
		ReLU:      reluAVX2,
		Tanh:      tanhAVX2,
		Sigmoid:   sigmoidAVX2,
		LeakyReLU: leakyAVX2,
	},
	gate: [...]func(dst, x, up *float32, n int){
		SiLU:      siluGateAVX2,
		GELU:      geluGateAVX2,
		GELUTanh:  geluTanhGateAVX2,
		ReLU:      reluGateAVX2,
		Tanh:      tanhGateAVX2,
		Sigmoid:   sigmoidGateAVX2,
		LeakyReLU: leakyGateAVX2,
	},
	derivative: [...]func(dst, x *float32, n int){
		SiLU:      dsiluAVX2,
		GELU:      dgeluAVX2,
		GELUTanh:  dgeluTanhAVX2,
		ReLU:      dreluAVX2,
		Tanh:      dtanhAVX2,
		Sigmoid:   dsigmoidAVX2,
		LeakyReLU: dleakyAVX2,
	},

	dot: dotRowAVX2, dot3: dot3AVX2, sum: sumAVX2, spread: spreadAVX2, maximum: maximumAVX2, finite: finiteAVX2,
	expSum: expSumAVX2, expShift: expShiftAVX2,

	scores: [len(layouts)][]scoresKernel{
		F32:  {1: scores1AVX2, scores2AVX2, scores3AVX2},
		F16:  {1: scoresF16_1AVX2, scoresF16_2AVX2, scoresF16_3AVX2, scoresF16_4AVX2, scoresF16_5AVX2, scoresF16_6AVX2, scoresF16_7AVX2},
		Q8_0: {1: scoresQ8_0_1AVX2, scoresQ8_0_2AVX2, scoresQ8_0_3AVX2, scoresQ8_0_4AVX2, scoresQ8_0_5AVX2, scoresQ8_0_6AVX2, scoresQ8_0_7AVX2},
	},
	values: [len(layouts)][]valuesKernel{
		F32:  {1: values1AVX2, values2AVX2, values3AVX2},
		F16:  {1: valuesF16_1AVX2, valuesF16_2AVX2, valuesF16_3AVX2, valuesF16_4AVX2, valuesF16_5AVX2, valuesF16_6AVX2, valuesF16_7AVX2},
		Q8_0: {1: valuesQ8_0_1AVX2, valuesQ8_0_2AVX2, valuesQ8_0_3AVX2, valuesQ8_0_4AVX2, valuesQ8_0_5AVX2, valuesQ8_0_6AVX2, valuesQ8_0_7AVX2},
	},
	weights: weightsAVX2, weightsGrad: weightsGradAVX2, scaledKeys: scaledKeysAVX2,
	addRows: [len(layouts)]func(dst, a *float32, x *byte, stride, n int){F32: addRowsF32AVX2, F16: addRowsF16AVX2, BF16: addRowsBF16AVX2, Q8_0: addRowsQ8_0AVX2},
}

var vectorAVX512 = vectors{
	lanes: 16,

	add: addAVX512, mul: mulAVX512, mulAdd: mulAddAVX512, axpy: axpyAVX512, scale: scaleAVX512, quotient: quotientAVX512,
	norm: normAVX512, normGrad: normGradAVX512, normWeightGrad: normWeightGradAVX512, rope: ropeAVX512,
	apply: [...]func(dst, x *float32, n int){
		SiLU:      siluAVX512,
		GELU:      geluAVX512,
		GELUTanh:  geluTanhAVX512,
		ReLU:      reluAVX512,
		Tanh:      tanhAVX512,
		Sigmoid:   sigmoidAVX512,
		LeakyReLU: leakyAVX512,
	},
	gate: [...]func(dst, x, up *float32, n int){
		SiLU:      siluGateAVX512,
		GELU:      geluGateAVX512,
		GELUTanh:  geluTanhGateAVX512,
		ReLU:      reluGateAVX512,
		Tanh:      tanhGateAVX512,
		Sigmoid:   sigmoidGateAVX512,
		LeakyReLU: leakyGateAVX512,
	},
	derivative: [...]func(dst, x *float32, n int){
		SiLU:      dsiluAVX512,
		GELU:      dgeluAVX512,
		GELUTanh:  dgeluTanhAVX512,
		ReLU:      dreluAVX512,
		Tanh:      dtanhAVX512,
		Sigmoid:   dsigmoidAVX512,
		LeakyReLU: dleakyAVX512,
	},

	dot: dotRowAVX512, dot3: dot3AVX512, sum: sumAVX512, spread: spreadAVX512, maximum: maximumAVX512, finite: finiteAVX512,
	expSum: expSumAVX512, expShift: expShiftAVX512,

	scores: [len(layouts)][]scoresKernel{
		F32:  {1: scores1AVX512, scores2AVX512, scores3AVX512, scores4AVX512, scores5AVX512, scores6AVX512},
		F16:  {1: scoresF16_1AVX512, scoresF16_2AVX512, scoresF16_3AVX512, scoresF16_4AVX512, scoresF16_5AVX512, scoresF16_6AVX512, scoresF16_7AVX512, scoresF16_8AVX512},
		Q8_0: {1: scoresQ8_0_1AVX512, scoresQ8_0_2AVX512, scoresQ8_0_3AVX512, scoresQ8_0_4AVX512, scoresQ8_0_5AVX512, scoresQ8_0_6AVX512, scoresQ8_0_7AVX512, scoresQ8_0_8AVX512},
	},
	values: [len(layouts)][]valuesKernel{
		F32:  {1: values1AVX512, values2AVX512, values3AVX512, values4AVX512, values5AVX512, values6AVX512},
		F16:  {1: valuesF16_1AVX512, valuesF16_2AVX512, valuesF16_3AVX512, valuesF16_4AVX512, valuesF16_5AVX512, valuesF16_6AVX512, valuesF16_7AVX512, valuesF16_8AVX512},
		Q8_0: {1: valuesQ8_0_1AVX512, valuesQ8_0_2AVX512, valuesQ8_0_3AVX512, valuesQ8_0_4AVX512, valuesQ8_0_5AVX512, valuesQ8_0_6AVX512, valuesQ8_0_7AVX512, valuesQ8_0_8AVX512},
	},
	weights: weightsAVX512, weightsGrad: weightsGradAVX512, scaledKeys: scaledKeysAVX512,
	addRows: [len(layouts)]func(dst, a *float32, x *byte, stride, n int){F32: addRowsF32AVX512, F16: addRowsF16AVX512, BF16: addRowsBF16AVX512, Q8_0: addRowsQ8_0AVX512},
}

func init() {
	vectorAVX2.product, vectorAVX512.product = dotAVX2.product, dotAVX512.product
}
