//go:build !noasm

package kernels

import "unsafe"

// outerTile adds a product to a tile of c; see the generated files.
type outerTile = func(c *float32, cStride int, a *float32, aRow, aStep int, b *float32, bStride, k, n int)

// product adds a·b to c, [m, n], where a[r][i] lies at r*aRow + i*aStep and b
// is [k, n], all in bytes: tiles of c stay in registers while i runs in order.
func (d *dots) product(c *float32, cStride, m, n int, a *float32, aRow, aStep int, b *float32, bStride, k int) {
	wide := d.width * d.lanes
	for j := 0; j < n; {
		cols := min(wide, n-j)
		if cols < wide {
			cols = min(cols, d.lanes)
		}
		for r := 0; r < m; r += d.rows {
			rows := min(d.rows, m-r)
			f := d.outer[rows]
			if cols < wide {
				f = d.outerN[rows]
			}
			f(at(c, r*cStride+4*j), cStride, at(a, r*aRow), aRow, aStep, at(b, 4*j), bStride, k, cols)
		}
		j += cols
	}
}

// Columns and outputs of a weight widened at a time for InputGrad: a tile that
// stays in the second-level cache.
const gradCols, gradOuts = 256, 128

func (d *dots) inputGradient(w *Worker, dx, dy Matrix, weight Weight) {
	if dx.Empty() || dy.Empty() {
		return
	}
	rowBytes := weight.Format.RowBytes(weight.Cols)
	const stride = 4*gradCols + 64
	tile := grow(&w.tile, gradOuts*stride/4)
	for i := 0; i < weight.Cols; i += gradCols {
		n := min(gradCols, weight.Cols-i)
		for o := 0; o < weight.Rows; o += gradOuts {
			outs := min(gradOuts, weight.Rows-o)
			src := weight.Data[o*rowBytes+weight.Format.RowBytes(i):]
			b, bs := (*float32)(unsafe.Pointer(&src[0])), rowBytes
			if weight.Format != F32 || rowBytes%2048 == 0 { // rows that far apart fall into few sets of the cache
				for k := range outs {
					d.widen(tile[k*stride/4:][:n], weight.Format, src[k*rowBytes:])
				}
				b, bs = &tile[0], stride
			}
			d.product(&dx.Data[i], 4*dx.Stride, dx.Rows, n, &dy.Data[o], 4*dy.Stride, 4, b, bs, outs)
		}
	}
}

// gradRows are summed at a time for WeightGrad.
const gradRows = 128

func (d *dots) weightGradient(_ *Worker, dw, dy, x Matrix) {
	if dw.Empty() || x.Rows == 0 {
		return
	}
	for r := 0; r < x.Rows; r += gradRows {
		d.product(&dw.Data[0], 4*dw.Stride, dw.Rows, dw.Cols, &dy.Data[r*dy.Stride], 4, 4*dy.Stride,
			&x.Data[r*x.Stride], 4*x.Stride, min(gradRows, x.Rows-r))
	}
}
