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

	scores:  []scoresKernel{1: scores1AVX2, scores2AVX2, scores3AVX2},
	values:  []valuesKernel{1: values1AVX2, values2AVX2, values3AVX2},
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

	scores:  []scoresKernel{1: scores1AVX512, scores2AVX512, scores3AVX512, scores4AVX512, scores5AVX512, scores6AVX512},
	values:  []valuesKernel{1: values1AVX512, values2AVX512, values3AVX512, values4AVX512, values5AVX512, values6AVX512},
	weights: weightsAVX512, weightsGrad: weightsGradAVX512, scaledKeys: scaledKeysAVX512,
	addRows: [len(layouts)]func(dst, a *float32, x *byte, stride, n int){F32: addRowsF32AVX512, F16: addRowsF16AVX512, BF16: addRowsBF16AVX512, Q8_0: addRowsQ8_0AVX512},
}

func init() {
	vectorAVX2.product, vectorAVX512.product = dotAVX2.product, dotAVX512.product
}
