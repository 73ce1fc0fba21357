//go:build !noasm

package kernels

var lanesAVX2 = lanes{
	blockCols: dotAVX2.blockCols,
	widen:     dotAVX2.widen,
	rows:      lanesPackAVX2,
	tiles:     [...]laneTile{1: lanes1AVX2, lanes2AVX2, lanes3AVX2, lanes4AVX2},
}

func init() { dotAVX2.implementation.lanes = &lanesAVX2 }
