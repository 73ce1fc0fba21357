//go:build !noasm

package kernels

// neon is for every arm64 processor: its instructions are those of ARMv8.0.
var neon = implementation{
	name:       "neon",
	matMul:     neonMul,
	inputGrad:  neonInputGrad,
	weightGrad: neonWeightGrad,
	widen:      neonWiden,
	vectors:    &vectorNEON,
	peak:       &peak{2 * 16 * neonLanes, fmaPeakNEON, readAllNEON},
}

// implementations lists what this processor and build can run, fastest last.
func implementations() []*implementation { return []*implementation{&portable, &neon} }

// pause lets a watching thread's sibling run.
func pause()
