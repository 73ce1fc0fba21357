//go:build !noasm

package kernels

// On Zen 3 prompts to quantised bases run at 0.94 to 0.97 of their speed without lanes at
// 128 rows, at 1.03 at 256 and at 1.06 at 512.
var lanesAVX2 = lanes{
	few:       256,
	blockCols: dotAVX2.blockCols,
	widen:     dotAVX2.widen,
	rows:      lanesPackAVX2,
	tiles:     [...]laneTile{1: lanes1AVX2, lanes2AVX2, lanes3AVX2, lanes4AVX2},
}

func init() { dotAVX2.implementation.lanes = &lanesAVX2 }
