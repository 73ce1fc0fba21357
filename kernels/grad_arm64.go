//go:build !noasm

package kernels

import "unsafe"

const neonOuterRows = 6

type neonOuter = func(c *float32, cStride int, a *float32, aRow, aStep int, b *float32, bStride, k int)

// neonOuters adds products to tiles of rows by so many columns.
var neonOuters = []struct {
	columns int
	tiles   [neonOuterRows + 1]neonOuter
}{
	{16, [...]neonOuter{1: outer1x16NEON, outer2x16NEON, outer3x16NEON, outer4x16NEON, outer5x16NEON, outer6x16NEON}},
	{4, [...]neonOuter{1: outer1x4NEON, outer2x4NEON, outer3x4NEON, outer4x4NEON, outer5x4NEON, outer6x4NEON}},
	{1, [...]neonOuter{1: outer1x1NEON, outer2x1NEON, outer3x1NEON, outer4x1NEON, outer5x1NEON, outer6x1NEON}},
}

// neonProduct adds a·b to c, [m, n], where a[r][i] lies at r*aRow + i*aStep
// and b is [k, n], all in bytes: tiles of c stay in registers while i runs in
// order.
func neonProduct(c *float32, cStride, m, n int, a *float32, aRow, aStep int, b *float32, bStride, k int) {
	j := 0
	for _, outer := range neonOuters {
		for ; n-j >= outer.columns; j += outer.columns {
			for r := 0; r < m; r += neonOuterRows {
				outer.tiles[min(neonOuterRows, m-r)](offset(c, r*cStride+4*j), cStride, offset(a, r*aRow), aRow, aStep, offset(b, 4*j), bStride, k)
			}
		}
	}
}

// Columns and outputs of a weight widened at a time for InputGrad, a tile that
// stays in the second-level cache, and the rows summed at a time for
// WeightGrad.
const neonGradCols, neonGradOuts, neonGradRows = 256, 128, 128

func neonInputGrad(w *Worker, dx, dy Matrix, weight Weight) {
	if dx.Empty() || dy.Empty() {
		return
	}
	rowBytes := weight.Format.RowBytes(weight.Cols)
	const apart = 4 * (neonGradCols + 16)
	tile := grow(&w.tile, neonGradOuts*apart/4)
	for i := 0; i < weight.Cols; i += neonGradCols {
		n := min(neonGradCols, weight.Cols-i)
		for o := 0; o < weight.Rows; o += neonGradOuts {
			outs := min(neonGradOuts, weight.Rows-o)
			src := weight.Data[o*rowBytes+weight.Format.RowBytes(i):]
			b, bs := (*float32)(unsafe.Pointer(&src[0])), rowBytes
			if weight.Format != F32 || rowBytes%2048 == 0 { // rows that far apart fall into few sets of the cache
				for k := range outs {
					neonWiden(tile[k*apart/4:][:n], weight.Format, src[k*rowBytes:])
				}
				b, bs = &tile[0], apart
			}
			neonProduct(&dx.Data[i], 4*dx.Stride, dx.Rows, n, &dy.Data[o], 4*dy.Stride, 4, b, bs, outs)
		}
	}
}

func neonWeightGrad(_ *Worker, dw, dy, x Matrix) {
	if dw.Empty() {
		return
	}
	for r := 0; r < x.Rows; r += neonGradRows {
		neonProduct(&dw.Data[0], 4*dw.Stride, dw.Rows, dw.Cols, &dy.Data[r*dy.Stride], 4, 4*dy.Stride,
			&x.Data[r*x.Stride], 4*x.Stride, min(neonGradRows, x.Rows-r))
	}
}
