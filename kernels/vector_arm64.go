//go:build !noasm

package kernels

var vectorNEON = vectors{
	lanes: neonLanes,

	add: addNEON, mul: mulNEON, mulAdd: mulAddNEON, axpy: axpyNEON, scale: scaleNEON, quotient: quotientNEON,
	norm: normNEON, normGrad: normGradNEON, normWeightGrad: normWeightGradNEON, rope: ropeNEON,
	apply: [...]func(dst, x *float32, n int){
		SiLU:      siluNEON,
		GELU:      geluNEON,
		GELUTanh:  geluTanhNEON,
		ReLU:      reluNEON,
		Tanh:      tanhNEON,
		Sigmoid:   sigmoidNEON,
		LeakyReLU: leakyNEON,
	},
	gate: [...]func(dst, x, up *float32, n int){
		SiLU:      siluGateNEON,
		GELU:      geluGateNEON,
		GELUTanh:  geluTanhGateNEON,
		ReLU:      reluGateNEON,
		Tanh:      tanhGateNEON,
		Sigmoid:   sigmoidGateNEON,
		LeakyReLU: leakyGateNEON,
	},
	derivative: [...]func(dst, x *float32, n int){
		SiLU:      dsiluNEON,
		GELU:      dgeluNEON,
		GELUTanh:  dgeluTanhNEON,
		ReLU:      dreluNEON,
		Tanh:      dtanhNEON,
		Sigmoid:   dsigmoidNEON,
		LeakyReLU: dleakyNEON,
	},

	dot: dotRowNEON, dot3: dot3NEON, sum: sumNEON, spread: spreadNEON, maximum: maximumNEON, finite: finiteNEON,
	expSum: expSumNEON, expShift: expShiftNEON,

	scores: [len(layouts)][]scoresKernel{
		F32:  {1: scores1NEON, scores2NEON, scores3NEON},
		F16:  {1: scoresF16_1NEON, scoresF16_2NEON, scoresF16_3NEON, scoresF16_4NEON},
		Q8_0: {1: scoresQ8_0_1NEON, scoresQ8_0_2NEON, scoresQ8_0_3NEON, scoresQ8_0_4NEON},
	},
	values: [len(layouts)][]valuesKernel{
		F32:  {1: values1NEON, values2NEON, values3NEON},
		F16:  {1: valuesF16_1NEON, valuesF16_2NEON, valuesF16_3NEON, valuesF16_4NEON},
		Q8_0: {1: valuesQ8_0_1NEON, valuesQ8_0_2NEON, valuesQ8_0_3NEON, valuesQ8_0_4NEON},
	},
	weights: weightsNEON, weightsGrad: weightsGradNEON, scaledKeys: scaledKeysNEON,

	product: neonProduct,
}
