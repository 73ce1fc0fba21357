//go:build !noasm

package kernels

import "unsafe"

// laneTile multiplies groups of rows with laneOuts outputs' packed weights; see the
// generated files. Its bits are those of a dotTile.
type laneTile = func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add, groups int, sums *float32)

const (
	laneOuts = 16
	laneRows = 6
	laneSums = 3 * laneRows * laneOuts
	// laneBand is how many outputs are packed at a time: they stay in the second-level
	// cache with laneSpan bytes of x.
	laneBand, laneSpan = 96, 192 << 10
	// laneFew is where packing the weights once begins to pay.
	laneFew = 24
)

// mulLanes multiplies many rows with as many outputs as come in whole tiles, and returns
// how many those were.
func (d *dots) mulLanes(w *Worker, dst, x Matrix, weight Weight) int {
	if d.lanesPack == nil || x.Rows < laneFew || x.Cols%8 != 0 {
		return 0
	}
	done := weight.Rows / laneOuts * laneOuts
	block, rowBytes := d.blockCols(x.Cols), weight.Format.RowBytes(weight.Cols)
	slice := block/8*laneOuts + 16 // of one partial sum; not a multiple of a page
	tile := 8 * slice
	stride := block + 16
	mem := grow(&w.tile, laneSums+laneBand/laneOuts*tile+8*stride)
	sums, packed, rows := mem[:laneSums], mem[laneSums:], mem[laneSums+laneBand/laneOuts*tile:]
	for c := 0; c < x.Cols; c += block {
		n := min(block, x.Cols-c)
		span := max(laneSpan/(4*n)/laneRows, 1) * laneRows
		for band := 0; band < done; band += laneBand {
			outs := min(laneBand, done-band)
			for o := 0; o < outs; o += 8 {
				src := weight.Data[(band+o)*rowBytes+weight.Format.RowBytes(c):]
				wp, ws := (*float32)(unsafe.Pointer(&src[0])), rowBytes
				if weight.Format != F32 {
					for i := range 8 {
						d.widen(rows[i*stride:][:n], weight.Format, src[i*rowBytes:])
					}
					wp, ws = &rows[0], 4*stride
				}
				d.lanesPack(&packed[o/laneOuts*tile+o%laneOuts], 4*slice, wp, ws, n/8)
			}
			for r := 0; r < x.Rows; r += span {
				end := min(r+span, x.Rows)
				for o := 0; o < outs; o += laneOuts {
					d.lanesOver(dst.Span(r, end).Columns(band+o, band+o+laneOuts), x.Span(r, end).Columns(c, c+n), packed[o/laneOuts*tile:], slice, c, sums)
				}
			}
		}
	}
	return done
}

// lanesOver multiplies rows with one tile's outputs.
func (d *dots) lanesOver(dst, x Matrix, packed []float32, slice, add int, sums []float32) {
	groups := x.Rows / laneRows
	if groups > 0 {
		d.laneTiles[laneRows](&dst.Data[0], 4*dst.Stride, &x.Data[0], 4*x.Stride, &packed[0], 4*slice, x.Cols/8, add, groups, &sums[0])
	}
	r := groups * laneRows
	if rest := x.Rows - r; rest > 0 {
		d.laneTiles[rest](&dst.Data[r*dst.Stride], 4*dst.Stride, &x.Data[r*x.Stride], 4*x.Stride, &packed[0], 4*slice, x.Cols/8, add, 1, &sums[0])
	}
}
